//! The canonical request: what every key is made of. No I/O and no Python.
//!
//! It is taken once, when a request is looked up, and carried to the store step, so a middleware
//! that changes the language afterwards cannot make a page that is never found.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cookie;
use crate::glob::Globs;
use crate::key::{self, Fields};
use crate::query;
use crate::recipe::{Cookies, Recipe};
use crate::signer::Signer;
use crate::url::Url;

/// The values of the request's headers, by lower-case name.
pub trait Headers {
    fn get(&self, name: &str) -> Option<String>;

    /// The `Cookie` header.
    fn cookies(&self) -> CookieText {
        CookieText {
            read: self.get("cookie").unwrap_or_default(),
            lost: None,
        }
    }
}

/// The `Cookie` header as Django reads it.
#[derive(Debug)]
pub struct CookieText {
    /// The text that `request.COOKIES` is made of.
    pub read: String,
    /// The header as it stands, where reading it as UTF-8 has lost something.
    pub lost: Option<String>,
}

/// What all keys of a site share.
#[derive(Debug)]
pub struct Site {
    /// Digest of the site's key prefix; generations hang on it alone.
    pub id: [u8; 32],
    /// `VIEWCACHE["RELEASE"]`: a deploy makes new pages.
    pub release: String,
    pub ignored_cookies: Globs,
    pub query: query::Rules,
    /// What pages and recipes are signed with.
    pub signer: Signer,
    /// The cookie with the key of a session that is kept by the site; `None` where none is watched.
    pub session_cookie: Option<String>,
}

impl Site {
    #[must_use]
    pub fn new(
        key_prefix: &str,
        release: String,
        ignored_cookies: Globs,
        query: query::Rules,
    ) -> Self {
        let mut fields = Fields::new("site");
        fields.text(key_prefix);
        Self {
            id: fields.digest(),
            release,
            ignored_cookies,
            query,
            signer: Signer::default(),
            session_cookie: None,
        }
    }

    /// The same, with pages and recipes that are signed.
    #[must_use]
    pub fn signed(self, signer: Signer) -> Self {
        Self { signer, ..self }
    }

    /// The same, with the cookie of its sessions.
    #[must_use]
    pub fn with_sessions(self, session_cookie: Option<String>) -> Self {
        Self {
            session_cookie,
            ..self
        }
    }

    /// The cookie of the session, where pages of these cookies are told apart by it.
    #[must_use]
    pub fn session_of(&self, cookies: &Cookies) -> Option<&str> {
        let name = self.session_cookie.as_deref()?;
        (cookies.include(name) && !self.ignored_cookies.matches(name)).then_some(name)
    }
}

/// GET and HEAD share everything but the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
}

/// The parts of a request that its URL's recipe is found by.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    pub key_prefix: &'a str,
    pub scheme: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    /// Names that a view allows into its key, instead of the site's rules.
    pub only: Option<&'a Globs>,
    /// The charset that the query is to be decoded by, where it is not UTF-8 (`request.encoding`): both
    /// enter the key as they are.
    pub charset: Option<&'a str>,
}

impl Parts<'_> {
    /// The digest of the URL.
    #[must_use]
    pub fn digest(&self, site: &Site) -> [u8; 32] {
        let mut fields = Fields::new("url");
        fields.bytes(&site.id);
        fields.text(&site.release);
        fields.text(self.key_prefix);
        fields.text(self.scheme);
        fields.text(&canonical_host(self.host, self.scheme));
        fields.text(self.path);
        if let Some(charset) = self.charset {
            fields.text(charset);
            fields.text(self.query);
        } else {
            let pairs = query::canonical(self.query, &site.query, self.only);
            fields.count(pairs.len());
            for (name, value) in pairs {
                fields.text(&name);
                fields.text(&value);
            }
        }
        fields.digest()
    }

    /// The parts as they are spelt, one after another with its length; `None` with a list of names, which
    /// is not part of it.
    #[must_use]
    pub fn spelt(&self) -> Option<Vec<u8>> {
        if self.only.is_some() {
            return None;
        }
        let parts = [
            self.key_prefix,
            self.scheme,
            self.host,
            self.path,
            self.query,
            self.charset.unwrap_or_default(),
        ];
        let length = 1 + parts.iter().map(|part| 8 + part.len()).sum::<usize>();
        let mut spelt = Vec::with_capacity(length);
        spelt.push(u8::from(self.charset.is_some()));
        for part in parts {
            spelt.extend((part.len() as u64).to_le_bytes());
            spelt.extend(part.as_bytes());
        }
        Some(spelt)
    }
}

/// The host in lower case, without the port that the scheme implies (RFC 9110 section 4.2.3).
/// `ALLOWED_HOSTS` has judged it before.
#[must_use]
pub fn canonical_host(host: &str, scheme: &str) -> String {
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    host.strip_suffix(default)
        .unwrap_or(host)
        .to_ascii_lowercase()
}

/// A request, as far as keys are concerned.
#[derive(Debug, Clone)]
pub struct Request {
    pub url: Arc<Url>,
    pub method: Method,
    pub language: Option<String>,
    pub zone: Option<String>,
    /// It carries `Authorization`: only a page that says `public` may answer it.
    pub authorized: bool,
}

impl Request {
    /// The digest of this request as seen by a recipe: the page's key, and its fingerprint. The
    /// names of what it varies on enter as well as the values, so pages stored under two recipes
    /// never meet.
    #[must_use]
    pub fn digest(
        &self,
        method: Method,
        recipe: &Recipe,
        headers: &dyn Headers,
        ignored: &Globs,
    ) -> [u8; 32] {
        let mut fields = Fields::new("page");
        fields.bytes(&self.url.digest);
        fields.text(match method {
            Method::Get => "GET",
            Method::Head => "HEAD",
        });
        fields.optional(self.language.as_deref());
        fields.optional(self.zone.as_deref());
        fields.count(recipe.headers.len());
        for name in &recipe.headers {
            fields.text(name);
            fields.optional(headers.get(name).as_deref());
        }
        match &recipe.cookies {
            Cookies::None => fields.text("none"),
            Cookies::All => {
                fields.text("all");
                let header = headers.cookies();
                fields.text(&cookie::canonical_without(&header.read, ignored));
                if let Some(lost) = header.lost {
                    // Who reads the header itself can tell apart what `COOKIES` cannot.
                    fields.text(&lost);
                }
            }
            Cookies::Named(names) => {
                fields.text("named");
                named(&mut fields, names, &headers.cookies().read, ignored);
            }
        }
        fields.digest()
    }
}

/// A cookie that the settings leave out of every key is left out even where it was read.
fn named(fields: &mut Fields, names: &BTreeSet<String>, header: &str, ignored: &Globs) {
    let kept: Vec<&String> = names.iter().filter(|name| !ignored.matches(name)).collect();
    fields.count(kept.len());
    for name in kept {
        fields.text(name);
        fields.optional(cookie::value(header, name));
    }
}

/// The cache key of a page.
#[must_use]
pub fn page_key(digest: &[u8; 32]) -> String {
    key::named("viewcache.p1.", digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Guards;

    pub struct Fixed(pub &'static [(&'static str, &'static str)]);

    impl Headers for Fixed {
        fn get(&self, name: &str) -> Option<String> {
            self.0
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_string())
        }
    }

    fn site() -> Site {
        Site::new(
            "",
            String::new(),
            Globs::new(vec!["_ga".into()]),
            query::Rules::default(),
        )
    }

    fn parts() -> Parts<'static> {
        Parts {
            key_prefix: "",
            scheme: "http",
            host: "h",
            path: "/",
            query: "",
            only: None,
            charset: None,
        }
    }

    #[test]
    fn each_part_tells_urls_apart() {
        let base = parts().digest(&site());
        for other in [
            Parts {
                key_prefix: "x",
                ..parts()
            },
            Parts {
                scheme: "https",
                ..parts()
            },
            Parts {
                host: "g",
                ..parts()
            },
            Parts {
                path: "/a",
                ..parts()
            },
            Parts {
                query: "a",
                ..parts()
            },
            Parts {
                query: "",
                charset: Some("koi8-r"),
                ..parts()
            },
        ] {
            assert_ne!(other.digest(&site()), base, "{other:?}");
        }
        let new = Site {
            release: "2".into(),
            ..site()
        };
        assert_ne!(parts().digest(&new), base);
        let two = Site::new(
            "two",
            String::new(),
            Globs::default(),
            query::Rules::default(),
        );
        assert_ne!(parts().digest(&two), base);
    }

    #[test]
    fn a_host_has_one_spelling() {
        let base = parts().digest(&site());
        assert_eq!(
            Parts {
                host: "H:80",
                ..parts()
            }
            .digest(&site()),
            base
        );
        assert_ne!(
            Parts {
                host: "h:443",
                ..parts()
            }
            .digest(&site()),
            base
        );
        assert_eq!(canonical_host("[::1]:443", "https"), "[::1]");
    }

    #[test]
    fn a_page_depends_on_what_its_recipe_names() {
        let request = Request {
            url: Url::new([0; 32], "/", &Guards::new([0; 32], 0))
                .unwrap()
                .into(),
            method: Method::Get,
            language: None,
            zone: None,
            authorized: false,
        };
        let digest = |recipe: &Recipe, headers: &'static [(&str, &str)]| {
            request.digest(
                Method::Get,
                recipe,
                &Fixed(headers),
                &site().ignored_cookies,
            )
        };
        let none = Recipe::default();
        assert_eq!(digest(&none, &[("cookie", "a=1")]), digest(&none, &[]));
        let all = Recipe {
            cookies: Cookies::All,
            ..Recipe::default()
        };
        assert_ne!(digest(&all, &[("cookie", "a=1")]), digest(&all, &[]));
        assert_eq!(
            digest(&all, &[("cookie", "_ga=1; b=2; a=1")]),
            digest(&all, &[("cookie", "a=1;b=2")])
        );
        let theme = Cookies::Named(["theme".to_string()].into());
        let theme = Recipe {
            cookies: theme,
            ..Recipe::default()
        };
        let read = Cookies::Named(["_ga".to_string()].into());
        let read = Recipe {
            cookies: read,
            ..Recipe::default()
        };
        assert_eq!(digest(&read, &[("cookie", "_ga=1")]), digest(&read, &[]));
        assert_eq!(
            digest(&theme, &[("cookie", "x=1; theme=dark")]),
            digest(&theme, &[("cookie", "theme=dark")])
        );
        assert_ne!(digest(&theme, &[("cookie", "theme=")]), digest(&theme, &[]));
        assert_ne!(digest(&theme, &[]), digest(&none, &[]));
        let accept = Recipe {
            headers: ["accept".to_string()].into(),
            ..Recipe::default()
        };
        assert_ne!(digest(&accept, &[("accept", "")]), digest(&accept, &[]));
        assert_ne!(
            request.digest(Method::Head, &none, &Fixed(&[]), &Globs::default()),
            request.digest(Method::Get, &none, &Fixed(&[]), &Globs::default())
        );
    }
}
