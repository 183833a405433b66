//! Reading and writing the bytes that go to the cache: lengths before values, little endian, a
//! magic with the version in front and a CRC-32 over the rest. Reading is total: whatever the
//! bytes are, the answer is a value or `None`, and nothing is allocated that the input does not hold.

/// Bytes before the content: magic and checksum.
const FRAME: usize = 8;

/// Writes one frame.
pub struct Writer(Vec<u8>);

impl Writer {
    #[must_use]
    pub fn new(magic: [u8; 4], capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(FRAME + capacity);
        bytes.extend(magic);
        bytes.extend([0; 4]);
        Self(bytes)
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub fn raw(&mut self, value: &[u8]) {
        self.0.extend(value);
    }

    /// A length: what is longer than 4 GiB fits no cache and is refused long before this.
    pub fn length(&mut self, value: usize) {
        self.u32(u32::try_from(value).unwrap_or(u32::MAX));
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.length(value.len());
        self.raw(value);
    }

    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.0[FRAME..]).to_le_bytes();
        self.0[FRAME - 4..FRAME].copy_from_slice(&checksum);
        self.0
    }
}

/// Reads one frame.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The content, when magic and checksum are right.
    #[must_use]
    pub fn open(magic: [u8; 4], bytes: &'a [u8]) -> Option<Self> {
        let (head, content) = bytes.split_at_checked(FRAME)?;
        let (found, checksum) = head.split_at_checked(4)?;
        (found == magic && checksum == crc32fast::hash(content).to_le_bytes())
            .then_some(Self(content))
    }

    /// The content of a frame that [`Reader::open`] has opened before.
    #[must_use]
    pub fn open_again(bytes: &'a [u8]) -> Option<Self> {
        bytes.get(FRAME..).map(Self)
    }

    pub fn raw(&mut self, length: usize) -> Option<&'a [u8]> {
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.raw(1)?.first().copied()
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.raw(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.raw(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.raw(usize::try_from(length).ok()?)
    }

    pub fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    /// A count of items that each take at least `least` bytes: one that the rest cannot hold is a lie.
    pub fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count <= self.0.len() / least.max(1)).then_some(count)
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}
