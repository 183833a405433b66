//! The scopes of one request's page, and their generations as they were read.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Found;
use crate::guard::{Guard, Guards};

/// So many are looked through one by one; for more there is a map.
const FEW: usize = 12;

/// A scope of this request's page, and what its generation was when it was read.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    pub guard: Arc<Guard>,
    pub generation: Option<u64>,
    /// It had no generation, on purpose: its change is being committed, or is not on all replicas
    /// yet. That stands: data that is read before it opens may be old, whenever it opens.
    pub closed: bool,
    /// The page reads it. Those that only a recipe hinted at do not bind the page.
    pub used: bool,
    /// It is part of the recipe that this request teaches, though it does not bind its page.
    pub remembered: bool,
}

impl Scope {
    pub fn text(&self) -> &str {
        self.guard.text()
    }

    pub fn key(&self) -> &str {
        self.guard.key()
    }
}

/// The scopes of this request's page: those of its path first, and each once.
#[derive(Debug)]
pub(super) struct Scopes {
    guards: Arc<Guards>,
    all: Vec<Scope>,
    of_path: usize,
    /// Where each is, once they are more than a few.
    places: HashMap<ByText, usize>,
}

impl Scopes {
    /// Those of a path.
    pub fn new(path: &[Arc<Guard>], guards: Arc<Guards>) -> Self {
        let mut scopes = Self {
            guards,
            all: Vec::with_capacity(path.len() + 4),
            of_path: 0,
            places: HashMap::new(),
        };
        for guard in path {
            let at = scopes.add(Arc::clone(guard));
            scopes.all[at].used = true;
        }
        scopes.of_path = scopes.all.len();
        scopes
    }

    pub fn guards(&self) -> &Arc<Guards> {
        &self.guards
    }

    pub fn all(&self) -> &[Scope] {
        &self.all
    }

    pub fn of_path(&self) -> &[Scope] {
        &self.all[..self.of_path]
    }

    pub fn beyond_path(&self) -> &[Scope] {
        &self.all[self.of_path..]
    }

    /// Those that bind the page.
    pub fn used(&self) -> impl Iterator<Item = &Scope> {
        self.all.iter().filter(|scope| scope.used)
    }

    pub fn get(&self, text: &str) -> Option<&Scope> {
        self.place(text).map(|at| &self.all[at])
    }

    /// The scope with this text, which is added where it is not there yet.
    pub fn of(&mut self, text: &str) -> &mut Scope {
        let at = match self.place(text) {
            Some(at) => at,
            None => self.add(self.guards.of(text)),
        };
        &mut self.all[at]
    }

    fn place(&self, text: &str) -> Option<usize> {
        if self.places.is_empty() {
            return self.all.iter().position(|scope| scope.text() == text);
        }
        self.places.get(text).copied()
    }

    fn add(&mut self, guard: Arc<Guard>) -> usize {
        let at = self.all.len();
        self.all.push(Scope {
            guard: Arc::clone(&guard),
            generation: None,
            closed: false,
            used: false,
            remembered: false,
        });
        if !self.places.is_empty() {
            self.places.insert(ByText(guard), at);
        } else if at == FEW {
            let guards = self.all.iter().map(|scope| Arc::clone(&scope.guard));
            self.places = guards.map(ByText).zip(0..).collect();
        }
        at
    }

    /// A generation that was read once stands: reading it again later could only be younger than
    /// data that was read in between.
    pub fn read_generations(&mut self, found: &dyn Found) {
        let mut seen = Vec::new();
        for (at, scope) in self.all.iter_mut().enumerate() {
            if scope.generation.is_some() || scope.closed {
                continue;
            }
            scope.generation = found.generation(scope.guard.key());
            match scope.generation {
                // A path's own guard no single data; see `younger_than`.
                Some(generation) if at >= self.of_path => seen.push((at, generation)),
                Some(_) => {}
                None => scope.closed = found.is_closed(scope.guard.key()),
            }
        }
        let seen = seen.into_iter();
        self.guards
            .note(seen.map(|(at, generation)| (&*self.all[at].guard, generation)));
    }

    /// The keys of the generations that are not known, of used scopes and of expected ones.
    pub fn unread(&self) -> impl Iterator<Item = &Scope> {
        let all = self.all.iter();
        all.filter(|scope| scope.generation.is_none() && !scope.closed)
    }
}

/// A guard, as a map finds it.
#[derive(Debug)]
struct ByText(Arc<Guard>);

impl Borrow<str> for ByText {
    fn borrow(&self) -> &str {
        self.0.text()
    }
}

impl Hash for ByText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text().hash(state);
    }
}

impl PartialEq for ByText {
    fn eq(&self, other: &Self) -> bool {
        self.0.text() == other.0.text()
    }
}

impl Eq for ByText {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache that has this generation of every scope, or a mark that it has none for now.
    struct Everywhere(Option<u64>);

    impl Found for Everywhere {
        fn generation(&self, _key: &str) -> Option<u64> {
            self.0
        }

        fn moment(&self, _key: &str) -> Option<u64> {
            None
        }

        fn bytes(&self, _key: &str) -> Option<&[u8]> {
            None
        }

        fn is_closed(&self, _key: &str) -> bool {
            self.0.is_none()
        }
    }

    #[test]
    fn what_was_read_first_stands() {
        let mut scopes = Scopes::new(&[], Arc::new(Guards::new([1; 32], 0)));
        scopes.of("tag:open");
        scopes.read_generations(&Everywhere(Some(1)));
        scopes.of("tag:closed");
        scopes.read_generations(&Everywhere(None));
        scopes.of("tag:new");
        scopes.read_generations(&Everywhere(Some(2)));
        let read: Vec<_> = scopes
            .all()
            .iter()
            .map(|s| (s.generation, s.closed))
            .collect();
        assert_eq!(read, [(Some(1), false), (None, true), (Some(2), false)]);
        assert_eq!(scopes.unread().count(), 0);
    }

    #[test]
    fn generations_are_noted_beyond_those_of_the_path() {
        let guards = Arc::new(Guards::new([1; 32], 100));
        let mut scopes = Scopes::new(&[guards.of("path:/")], Arc::clone(&guards));
        scopes.of("tag:a");
        scopes.read_generations(&Everywhere(Some(1)));
        assert!(guards.of("tag:a").is_older(1, guards.moment()));
        assert!(!guards.of("path:/").is_older(1, guards.moment()));
    }

    #[test]
    fn each_is_there_once_however_many_they_are() {
        let guards = Arc::new(Guards::new([1; 32], 0));
        let path = ["tree:/", "path:/a"];
        let of_path = path.map(|text| guards.of(text));
        let mut scopes = Scopes::new(&of_path, guards);
        for n in 0..5 * FEW {
            let text = format!("tag:{n}");
            assert!(scopes.get(&text).is_none());
            scopes.of(&text).generation = Some(n as u64);
            for known in 0..=n {
                let again = scopes.of(&format!("tag:{known}"));
                assert_eq!(again.generation, Some(known as u64), "{known} of {n}");
            }
            assert_eq!(scopes.all().len(), path.len() + n + 1);
        }
        let of_path: Vec<&str> = scopes.of_path().iter().map(Scope::text).collect();
        assert_eq!(of_path, path);
        assert_eq!(scopes.used().count(), path.len());
    }
}
