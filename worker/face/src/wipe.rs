//! Buffers that are wiped when they are dropped.

use std::ops::{Deref, DerefMut};

/// A vector of plain numbers that leaves nothing behind. Like `zeroize::Zeroizing`, but it writes whole
/// words instead of one number after another: a selfie has millions of bytes, and wiping them one by one
/// took a third of the time that decoding them took.
#[derive(Clone, Default)]
pub(crate) struct Wiped<T: Copy + Default>(Vec<T>);

impl<T: Copy + Default> Wiped<T> {
    /// Takes a vector over. What it left behind when it grew before is not wiped.
    pub(crate) fn new(values: Vec<T>) -> Self {
        Self(values)
    }

    /// `count` zeros.
    pub(crate) fn zeros(count: usize) -> Self {
        Self(vec![T::default(); count])
    }

    /// Room for `count` numbers; with more than that, copies would stay where it was before.
    pub(crate) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }
}

/// Overwrites what a vector holds and ever held in its present place.
pub(crate) fn wipe<T: Copy + Default>(values: &mut Vec<T>) {
    values.clear();
    values.resize(values.capacity(), T::default());
    // Without it, writing what nobody reads again would be optimised away.
    zeroize::optimization_barrier(values.as_slice());
    values.clear();
}

impl<T: Copy + Default> Drop for Wiped<T> {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

impl<T: Copy + Default> Deref for Wiped<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<T: Copy + Default> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Copy + Default> FromIterator<T> for Wiped<T> {
    /// For iterators that know their length; others make the vector grow.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_a_vector_is_gone_with_its_spare_room() {
        let mut values = vec![7u8; 100];
        values.truncate(40);
        let capacity = values.capacity();
        wipe(&mut values);
        values.resize(capacity, 1);
        // The same place: nothing was allocated anew.
        assert_eq!(values.capacity(), capacity);
        let numbers = Wiped::new(vec![1.5f32; 3]);
        assert_eq!(numbers.clone()[..], [1.5; 3]);
        assert_eq!(Wiped::<u16>::zeros(4)[..], [0; 4]);
    }
}
