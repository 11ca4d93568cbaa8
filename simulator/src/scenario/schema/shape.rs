//! What the reader of scenario files knows, found out by letting it read.
//!
//! The reader asks for tables by the names of their fields, for lists, texts and numbers. Whoever
//! answers every question and takes notes has the shape of the whole file, so a schema made of the
//! notes knows each field that the reader knows, and no other.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::value::{BorrowedStrDeserializer, Error, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::super::raw::RawScenario;

/// What stands at a place of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A table with these fields.
    Table(Vec<Field>),
    /// A table with whatever keys.
    Map,
    /// A list, of exactly so many where the number is fixed.
    List(Option<usize>),
    /// Any text.
    Text,
    /// A span of time, such as `1h30m`.
    Time,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number from 0 on.
    Number,
    /// On or off.
    Switch,
    /// A number or a text.
    NumberOrText,
}

/// A field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    /// Whether a file without it is refused.
    pub(super) required: bool,
}

/// Each place of the file with its kind. `fleet.firmware[].share` is in each of a list's tables.
pub(super) type Shape = BTreeMap<String, Kind>;

/// The shape of a scenario file.
///
/// # Panics
/// If a field wants a text that is neither free nor a span of time; a test would notice.
pub(super) fn shape() -> Shape {
    // A span of time is a text as far as the reader's question goes; it takes this one only.
    let (whole, mut shape) = interview(None, ("", "1d"));
    assert!(whole, "a field of a scenario takes no answer");
    let places: Vec<(String, Kind)> = shape.clone().into_iter().collect();
    for (path, kind) in places {
        match kind {
            Kind::Text if !interview(None, (&path, "?")).0 => {
                shape.insert(path, Kind::Time);
            }
            Kind::Table(mut fields) => {
                for field in &mut fields {
                    field.required = !interview(Some(&below(&path, field.name)), ("", "1d")).0;
                }
                shape.insert(path, Kind::Table(fields));
            }
            _ => {}
        }
    }
    shape
}

/// Whether the reader takes the answers it gets, and what it asked. A field may be left out, and
/// one place get a text of its own.
fn interview(omitted: Option<&str>, text: (&str, &str)) -> (bool, Shape) {
    let notes = Notes {
        omitted,
        text,
        shape: RefCell::default(),
    };
    let read = RawScenario::deserialize(Asked {
        notes: &notes,
        path: String::new(),
    });
    (read.is_ok(), notes.shape.into_inner())
}

/// The place of `field` in the table at `path`.
pub(super) fn below(path: &str, field: &str) -> String {
    if path.is_empty() {
        field.to_owned()
    } else {
        format!("{path}.{field}")
    }
}

/// What the reader asked so far, and what it is not told.
struct Notes<'n> {
    /// A field that is left out.
    omitted: Option<&'n str>,
    /// A place, and the text that it is given in place of the usual one.
    text: (&'n str, &'n str),
    shape: RefCell<Shape>,
}

/// One question of the reader.
struct Asked<'n> {
    notes: &'n Notes<'n>,
    path: String,
}

impl Asked<'_> {
    fn note(&self, kind: Kind) {
        self.notes
            .shape
            .borrow_mut()
            .insert(self.path.clone(), kind);
    }
}

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::NumberOrText);
        visitor.visit_str("1d")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Switch);
        visitor.visit_bool(true)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Number);
        visitor.visit_u32(1)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Number);
        visitor.visit_u64(1)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Text);
        let (place, text) = self.notes.text;
        visitor.visit_str(if self.path == place { text } else { "1d" })
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::List(None));
        visitor.visit_seq(Items {
            left: 1,
            list: self,
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note(Kind::List(Some(length)));
        visitor.visit_seq(Items {
            left: length,
            list: self,
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.note(Kind::Map);
        visitor.visit_map(Fields {
            left: &[],
            spanned: false,
            table: self,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // A value whose place in the file is kept poses as a table.
        let spanned = name.contains("Spanned");
        if !spanned {
            let optional = |&name| Field {
                name,
                required: false,
            };
            self.note(Kind::Table(fields.iter().map(optional).collect()));
        }
        visitor.visit_map(Fields {
            left: fields,
            spanned,
            table: self,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.note(Kind::Choice(variants));
        visitor.visit_enum(First(variants.first().copied().unwrap_or_default()))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct
        newtype_struct tuple_struct identifier ignored_any
    }
}

/// The items of a list that is read.
struct Items<'n> {
    left: usize,
    list: Asked<'n>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let path = format!("{}[]", self.list.path);
        seed.deserialize(Asked {
            notes: self.list.notes,
            path,
        })
        .map(Some)
    }
}

/// The fields of a table that is read.
struct Fields<'n> {
    left: &'static [&'static str],
    spanned: bool,
    table: Asked<'n>,
}

impl<'n> Fields<'n> {
    /// The place of the next field; that of a value with its place in the file is the value's.
    fn place(&self, field: &str) -> String {
        if self.spanned {
            self.table.path.clone()
        } else {
            below(&self.table.path, field)
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        while let Some(field) = self.left.first() {
            let omitted = !self.spanned && self.table.notes.omitted == Some(&self.place(field));
            if !omitted {
                return seed
                    .deserialize(BorrowedStrDeserializer::new(field))
                    .map(Some);
            }
            self.left = &self.left[1..];
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (field, left) = self
            .left
            .split_first()
            .ok_or_else(|| Error::custom("no key"))?;
        self.left = left;
        // Beside the value there are where it begins and where it ends.
        if self.spanned && !field.ends_with("value") {
            return seed.deserialize(0usize.into_deserializer());
        }
        let path = self.place(field);
        seed.deserialize(Asked {
            notes: self.table.notes,
            path,
        })
    }
}

/// The first word of a choice.
struct First(&'static str);

impl<'de> EnumAccess<'de> for First {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let word: StrDeserializer<'_, Error> = self.0.into_deserializer();
        Ok((seed.deserialize(word)?, self))
    }
}

impl<'de> VariantAccess<'de> for First {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(Error::custom("a choice is one word"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a choice is one word"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        Err(Error::custom("a choice is one word"))
    }
}
