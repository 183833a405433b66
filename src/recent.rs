//! A bounded map that keeps what is in use.
//!
//! Two halves: what is found in the old one moves to the young one, and a full young one becomes the
//! old one. So the least recently used half is forgotten, at constant cost, and there is no list to
//! keep in order.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// At most so many entries, and at most so many bytes as their costs say.
#[derive(Debug)]
pub struct Recent<K, V> {
    entries: usize,
    bytes: usize,
    young: HashMap<K, (V, usize)>,
    young_bytes: usize,
    old: HashMap<K, (V, usize)>,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    #[must_use]
    pub fn new(entries: usize, bytes: usize) -> Self {
        Self {
            entries,
            bytes,
            young: HashMap::new(),
            young_bytes: 0,
            old: HashMap::new(),
        }
    }

    pub fn get<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.young.contains_key(key) {
            let (key, (value, cost)) = self.old.remove_entry(key)?;
            self.put(key, value, cost);
        }
        self.young.get_mut(key).map(|(value, _)| value)
    }

    /// `cost` is about how many bytes the entry takes. One that costs more than half of all is
    /// not kept.
    pub fn put(&mut self, key: K, value: V, cost: usize) {
        if self.entries < 2 || cost > self.bytes / 2 {
            self.remove(&key);
            return;
        }
        if let Some((_, before)) = self.young.remove(&key) {
            self.young_bytes -= before;
        }
        if self.young.len() >= self.entries / 2 || self.young_bytes + cost > self.bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.old.remove(&key);
        self.young_bytes += cost;
        self.young.insert(key, (value, cost));
    }

    pub fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some((_, cost)) = self.young.remove(key) {
            self.young_bytes -= cost;
        }
        self.old.remove(key);
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes its entries take.
    #[cfg(test)]
    pub fn cost(&self) -> usize {
        let costs = self.young.values().chain(self.old.values());
        costs.map(|(_, cost)| cost).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut recent = Recent::new(100, 4_000);
        recent.put(0, 0, 10);
        for n in 1..10_000 {
            recent.put(n, n, 10 + n % 100);
            assert_eq!(recent.get(&0), Some(&mut 0), "forgotten at {n}");
            assert!(recent.len() <= 100 && recent.cost() <= 4_000);
        }
        assert_eq!(recent.get(&1), None);
        recent.remove(&0);
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn the_last_value_of_a_key_counts() {
        let mut recent = Recent::new(4, 1_000);
        for n in 0..9 {
            recent.put(1, n, 10);
            recent.put(10 + n, n, 10);
            assert_eq!(recent.get(&1), Some(&mut n.clone()));
        }
        recent.put(1, 99, 501);
        assert_eq!(
            recent.get(&1),
            None,
            "too large to keep, and the one before is not it"
        );
        let mut none = Recent::new(0, 0);
        none.put(1, 1, 0);
        assert!(none.is_empty());
    }
}
