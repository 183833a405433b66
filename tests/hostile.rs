//! The properties of the fuzz targets (`fuzz/src/properties.rs`) on the stable toolchain: every seed, and
//! mutations of the seeds in an order that never changes. `make fuzz` looks further.

#[path = "../fuzz/src/properties.rs"]
mod properties;

use std::fs;
use std::path::Path;

/// Mutations of each seed.
const MUTATIONS: u32 = 3_000;

/// Marsaglia's xorshift: numbers that are the same on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }

    /// A byte that means something to one of the parsers, or any.
    fn byte(&mut self) -> u8 {
        const MEANT: &[u8] = b"=;,&%+*\"\\/ .:_-\0\x1f\x85\xa0\xc2\xff0a";
        match self.below(3) {
            0 => u8::try_from(self.below(256)).unwrap_or(0),
            _ => MEANT[self.below(MEANT.len())],
        }
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(4) {
                0 if at < bytes.len() => bytes[at] = self.byte(),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at),
                _ => bytes.insert(at, self.byte()),
            }
        }
    }
}

#[test]
fn what_must_hold_of_any_bytes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    for (name, holds) in properties::ALL {
        let mut files: Vec<_> = fs::read_dir(seeds.join(name))
            .expect("each property has seeds")
            .map(|file| file.expect("a readable folder").path())
            .collect();
        files.sort();
        assert!(!files.is_empty());
        for file in files {
            let seed = fs::read(&file).expect("a readable seed");
            let mut dice = Dice(0x5eed);
            holds(&seed);
            for _ in 0..MUTATIONS {
                let mut bytes = seed.clone();
                dice.mutate(&mut bytes);
                holds(&bytes);
            }
        }
    }
}
