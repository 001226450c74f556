//! Options whose values are words, some with a number after a colon.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};

/// Reads what [`FromStr`] reads; the list of words is for help and completions.
#[derive(Debug)]
pub struct Listed<T> {
    words: &'static [(&'static str, &'static str)],
    value: PhantomData<fn() -> T>,
}

impl<T> Listed<T> {
    /// A parser with a list of words, each with what it means.
    pub const fn new(words: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            words,
            value: PhantomData,
        }
    }
}

// Derived, it would ask the same of `T`.
impl<T> Clone for Listed<T> {
    fn clone(&self) -> Self {
        Self::new(self.words)
    }
}

impl<T> TypedValueParser for Listed<T>
where
    T: FromStr<Err: Display + Into<Box<dyn std::error::Error + Send + Sync>>>
        + Clone
        + Send
        + Sync
        + 'static,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let read = |text: &str| text.parse::<T>();
        read.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = self.words.iter();
        Some(Box::new(
            words.map(|(name, help)| PossibleValue::new(*name).help(*help)),
        ))
    }
}
