//! What is told about a file: a tree whose members keep their order, for JSON and for people alike.

use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value as JSON knows it; maps are in the order in which they were made.
#[derive(Clone, PartialEq, Debug)]
pub enum Detail {
    Null,
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Detail>),
    Map(Details),
}

/// Named values, in order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Details(pub Vec<(String, Detail)>);

impl Detail {
    /// What serialises, as a tree.
    pub fn of(value: &impl Serialize) -> Detail {
        // By way of text, because a tree of serde_json's own sorts its members by name.
        serde_json::to_string(value).and_then(|text| serde_json::from_str(&text)).unwrap_or(Detail::Null)
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        match self {
            Detail::Null => true,
            Detail::List(items) => items.is_empty(),
            Detail::Map(members) => members.0.is_empty(),
            _ => false,
        }
    }
}

impl Details {
    /// Adds a member.
    pub fn add(&mut self, name: &str, value: impl Into<Detail>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Adds a member if there is a value.
    pub fn add_some(&mut self, name: &str, value: Option<impl Into<Detail>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Adds what serialises.
    pub fn add_serialised(&mut self, name: &str, value: &impl Serialize) {
        self.add(name, Detail::of(value));
    }

    /// A member with one more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Detail>) -> Details {
        self.add(name, value);
        self
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Detail {
        Detail::Text(text.to_owned())
    }
}

impl From<String> for Detail {
    fn from(text: String) -> Detail {
        Detail::Text(text)
    }
}

impl From<bool> for Detail {
    fn from(flag: bool) -> Detail {
        Detail::Flag(flag)
    }
}

impl From<usize> for Detail {
    fn from(number: usize) -> Detail {
        Detail::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<Details> for Detail {
    fn from(members: Details) -> Detail {
        Detail::Map(members)
    }
}

impl<T: Into<Detail>> From<Vec<T>> for Detail {
    fn from(items: Vec<T>) -> Detail {
        Detail::List(items.into_iter().map(Into::into).collect())
    }
}

impl Serialize for Detail {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Detail::Null => serializer.serialize_unit(),
            Detail::Flag(flag) => serializer.serialize_bool(*flag),
            Detail::Number(number) => serializer.serialize_i64(*number),
            Detail::Text(text) => serializer.serialize_str(text),
            Detail::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Detail::Map(members) => members.serialize(serializer),
        }
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Detail {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Detail, D::Error> {
        deserializer.deserialize_any(AnyDetail)
    }
}

struct AnyDetail;

impl<'de> Visitor<'de> for AnyDetail {
    type Value = Detail;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without fractions")
    }

    fn visit_unit<E>(self) -> Result<Detail, E> {
        Ok(Detail::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Detail, E> {
        Ok(Detail::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Detail, E> {
        Ok(Detail::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Detail, E> {
        Ok(Detail::Number(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Detail, E> {
        Ok(Detail::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Detail, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Detail::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Detail, A::Error> {
        let mut map = Details::default();
        while let Some(member) = members.next_entry()? {
            map.0.push(member);
        }
        Ok(Detail::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_values_their_kind() {
        #[derive(Serialize)]
        struct Sample {
            zulu: u8,
            alpha: Option<&'static str>,
            list: Vec<bool>,
        }
        let detail = Detail::of(&Sample { zulu: 1, alpha: None, list: vec![true] });
        assert_eq!(serde_json::to_string(&detail).unwrap(), r#"{"zulu":1,"alpha":null,"list":[true]}"#);
    }
}
