//! Deserialising without ever refusing a field: what has another type than expected is as if it were not there.
//!
//! Textract's responses reach us through SDKs, logs and people's scripts, which write null, strings for numbers, or leave
//! things out. One odd block must not cost the receipt.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A text.
#[derive(Default)]
pub(super) struct Text(pub(super) Option<String>);

/// A finite number; also one that was written as a string.
#[derive(Default)]
pub(super) struct Number(pub(super) Option<f32>);

/// An array of values that are read leniently themselves; none where there was no array at all.
pub(super) struct List<T>(pub(super) Option<Vec<T>>);

/// An object; its default where there was none.
#[derive(Default)]
pub(super) struct Object<T>(pub(super) T);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// Builds itself from whatever JSON value comes; every case that is not overridden gives the default.
pub(super) trait Lenient<'de>: Default {
    fn from_text(_: &str) -> Self {
        Self::default()
    }

    fn from_number(_: f64) -> Self {
        Self::default()
    }

    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Self, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn from_object<A: MapAccess<'de>>(mut object: A) -> Result<Self, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Lenient<'_> for Text {
    fn from_text(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

impl Lenient<'_> for Number {
    fn from_text(text: &str) -> Self {
        text.trim().parse().map_or_else(|_| Self::default(), Self::from_number)
    }

    fn from_number(number: f64) -> Self {
        let number = number as f32;
        Self(number.is_finite().then_some(number))
    }
}

impl<'de, T: Deserialize<'de>> Lenient<'de> for List<T> {
    fn from_array<A: SeqAccess<'de>>(mut array: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element()? {
            items.push(item);
        }
        Ok(Self(Some(items)))
    }
}

impl<'de, T: Deserialize<'de> + Default> Lenient<'de> for Object<T> {
    fn from_object<A: MapAccess<'de>>(object: A) -> Result<Self, A::Error> {
        T::deserialize(Members(object)).map(Self)
    }
}

/// An object's members for one of our structs. A name that stands twice is JSON, but a struct refuses it: the first counts.
struct Members<A>(A);

impl<'de, A: MapAccess<'de>> Deserializer<'de> for Members<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_map(self.0)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        visitor.visit_map(Once { object: self.0, seen: 0, fields })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Shows each of the struct's fields once.
struct Once<A> {
    object: A,
    /// A bit for each of the fields; no struct of ours has as many as there are bits.
    seen: u32,
    fields: &'static [&'static str],
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Once<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Name(name)) = self.object.next_key()? {
            if let Some(place) = self.fields.iter().position(|field| *field == name) {
                let bit = 1 << (place % 32);
                if self.seen & bit != 0 {
                    self.object.next_value::<IgnoredAny>()?;
                    continue;
                }
                self.seen |= bit;
            }
            return seed.deserialize(name.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.object.next_value_seed(seed)
    }
}

/// Reads a value of any JSON type.
pub(super) fn deserialize<'de, T: Lenient<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Taker(PhantomData))
}

struct Taker<T>(PhantomData<T>);

impl<'de, T: Lenient<'de>> Visitor<'de> for Taker<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::from_number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::from_number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(T::from_number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::from_text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<T, A::Error> {
        T::from_array(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<T, A::Error> {
        T::from_object(object)
    }
}

macro_rules! deserialize_leniently {
    ($([$($t:ident $(: $bound:ident)?)?] $type:ty),+) => {$(
        impl<'de $(, $t: Deserialize<'de> $(+ $bound)?)?> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserialize(deserializer)
            }
        }
    )+};
}

deserialize_leniently!([] Text, [] Number, [T] List<T>, [T: Default] Object<T>);

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: [&str; 7] = ["null", "true", "-1", "1.5", "\"x\"", "[1,[2]]", "{\"a\":{\"b\":[]}}"];

    #[test]
    fn nothing_is_refused() {
        for json in ODD {
            assert!(serde_json::from_str::<Text>(json).is_ok(), "{json}");
            assert!(serde_json::from_str::<Number>(json).is_ok(), "{json}");
            assert!(serde_json::from_str::<List<Text>>(json).is_ok(), "{json}");
            assert!(serde_json::from_str::<Object<()>>("null").is_ok());
        }
    }

    #[test]
    fn of_two_members_of_one_name_the_first_counts() {
        #[derive(Default, Deserialize)]
        struct Named {
            a: Number,
        }
        let named: Object<Named> = serde_json::from_str(r#"{"b":1,"a":1,"b":2,"\u0061":{"x":[2]},"a":3}"#).unwrap();
        assert_eq!(named.0.a.0, Some(1.0));
    }

    #[test]
    fn numbers_are_finite() {
        let number = |json| serde_json::from_str::<Number>(json).unwrap().0;
        assert_eq!(number("\"99.5\""), Some(99.5));
        assert_eq!(number("\"NaN\""), None);
        assert_eq!(number("1e300"), None);
    }
}
