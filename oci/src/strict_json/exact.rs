//! A deserializer that takes each thing in one form.
//!
//! The parsers that serde derives are liberal: a struct may come as an array of its fields' values,
//! and a variant as an object. Go's `encoding/json`, with which most others read the same documents,
//! is liberal in another way: a member whose name differs from a field's in case alone is that field,
//! and the last one wins. What one reader takes for data and another passes over is a way around one
//! of them, so here a struct is an object, a variant is a string, and a member's name is the field's or
//! nothing like it. The names are those that the struct itself declares; keys of maps are data.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Error, IntoDeserializer as _, MapAccess, SeqAccess, Unexpected, Visitor,
};

/// Reads from `inner`, and so on below.
pub(super) struct Exact<'a, D> {
    pub(super) inner: D,
    pub(super) watch: Watch<'a>,
}

/// Watches whether anything is read that [`check`](super::check) might refuse: an object that is no
/// struct, a member that the struct does not know or has twice, or too deep nesting.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub(super) depth_left: u8,
    pub(super) is_check_needed: &'a Cell<bool>,
}

impl Watch<'_> {
    fn ask_for_check(self) {
        self.is_check_needed.set(true);
    }

    fn descend(self) -> Self {
        let depth_left = self.depth_left.checked_sub(1).unwrap_or_else(|| {
            self.ask_for_check();
            0
        });
        Self { depth_left, ..self }
    }
}

impl<'a, D> Exact<'a, D> {
    fn visiting<V>(&self, visitor: V) -> Visiting<'a, V> {
        Visiting { visitor, fields: None, watch: self.watch }
    }
}

/// Methods that differ in what they expect, not in what is done here.
macro_rules! forward {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.visiting(visitor);
            self.inner.$method(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Exact<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_option deserialize_unit deserialize_seq deserialize_map
        deserialize_identifier
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Visiting { visitor, fields: Some(fields), watch: self.watch })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_str(Variant { visitor, variants })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.watch.ask_for_check();
        self.inner.deserialize_ignored_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        // It may be serde_json's way to keep some text as it is.
        self.watch.ask_for_check();
        let visitor = self.visiting(visitor);
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor);
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor);
        self.inner.deserialize_tuple(length, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.visiting(visitor);
        self.inner.deserialize_tuple_struct(name, length, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Gives `visitor` what is there, and goes on below it. With `fields` it is a struct's.
struct Visiting<'a, V> {
    visitor: V,
    fields: Option<&'static [&'static str]>,
    watch: Watch<'a>,
}

macro_rules! hand_over {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Visiting<'_, V> {
    type Value = V::Value;

    hand_over! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128)
        visit_f64(f64) visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fields {
            // What serde derives would name a type of ours.
            Some(_) => f.write_str("an object"),
            None => self.visitor.expecting(f),
        }
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Exact { inner, watch: self.watch })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Exact { inner, watch: self.watch })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if self.fields.is_some() {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.visitor.visit_seq(Below { inner, fields: None, read: 0, watch: self.watch.descend() })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if self.fields.is_none() {
            self.watch.ask_for_check();
        }
        let (fields, watch) = (self.fields, self.watch.descend());
        self.visitor.visit_map(Below { inner, fields, read: 0, watch })
    }
}

/// The elements of an array or the members of an object.
struct Below<'a, A> {
    inner: A,
    fields: Option<&'static [&'static str]>,
    /// Which of the first 64 fields have been read.
    read: u64,
    watch: Watch<'a>,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Below<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_element_seed(Value { seed, watch: self.watch })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Below<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        match self.fields {
            Some(fields) => {
                let key = Key { seed, fields, read: &mut self.read, watch: self.watch };
                self.inner.next_key_seed(key)
            }
            None => self.inner.next_key_seed(seed),
        }
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(Value { seed, watch: self.watch })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// An element, or a member's value.
struct Value<'a, T> {
    seed: T,
    watch: Watch<'a>,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Value<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<T::Value, D::Error> {
        self.seed.deserialize(Exact { inner, watch: self.watch })
    }
}

/// The name of a struct's member.
struct Key<'a, K> {
    seed: K,
    fields: &'static [&'static str],
    read: &'a mut u64,
    watch: Watch<'a>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<K::Value, D::Error> {
        inner.deserialize_str(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Key<'_, K> {
    type Value = K::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<K::Value, E> {
        if let Some(index) = self.fields.iter().position(|field| *field == key) {
            let bit = u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index));
            if bit.is_none_or(|bit| *self.read & bit != 0) {
                self.watch.ask_for_check();
            }
            *self.read |= bit.unwrap_or_default();
        } else if let Some(field) = self.fields.iter().find(|field| is_folded(key, field)) {
            return Err(E::custom(format_args!("key {key:?} is read as {field:?} by some")));
        } else {
            self.watch.ask_for_check();
        }
        let key: StrDeserializer<'_, E> = key.into_deserializer();
        self.seed.deserialize(key)
    }
}

/// Does Go's `encoding/json` take `key` for `field`, which is ASCII? It compares under Unicode's simple
/// case folding, which maps two characters beyond ASCII to letters of it.
fn is_folded(key: &str, field: &str) -> bool {
    let fold = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(field.chars().map(fold))
}

/// The name of a variant without content.
struct Variant<V> {
    visitor: V,
    variants: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Variant<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {:?}", self.variants)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<V::Value, E> {
        let name: StrDeserializer<'_, E> = name.into_deserializer();
        self.visitor.visit_enum(name)
    }
}

#[cfg(test)]
mod tests;
