//! The arguments of a task, read as one type: positional and named ones together, as Python binds
//! them to the parameters of a function.

use serde::{
    de::{
        DeserializeOwned, Deserializer, Error as _, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};

/// The arguments of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) args: Vec<Value>,
    pub(crate) kwargs: Map<String, Value>,
}

impl Arguments {
    /// Reads them as a type. A struct has a field for each parameter, which both kinds of arguments
    /// may fill; a tuple or a list has the positional ones, a map the named ones.
    ///
    /// # Errors
    /// The text of Python's `TypeError`.
    pub(crate) fn read<A: DeserializeOwned>(self) -> Result<A, Error> {
        A::deserialize(self)
    }

    fn positional(self) -> Result<Vec<Value>, Error> {
        match self.kwargs.keys().next() {
            Some(name) => Err(Error::custom(format_args!("got an unexpected keyword argument '{name}'"))),
            None => Ok(self.args),
        }
    }

    fn named(self) -> Result<Map<String, Value>, Error> {
        match self.args.len() {
            0 => Ok(self.kwargs),
            given => Err(too_many(0, given)),
        }
    }

    /// Puts the positional arguments at the names of their parameters.
    fn bound(self, parameters: &'static [&'static str]) -> Result<Map<String, Value>, Error> {
        let (given, mut bound) = (self.args.len(), self.kwargs);
        if given > parameters.len() {
            return Err(too_many(parameters.len(), given));
        }
        if let Some(unknown) = bound.keys().find(|name| !parameters.contains(&name.as_str())) {
            return Err(Error::custom(format_args!("got an unexpected keyword argument '{unknown}'")));
        }
        for (name, value) in parameters.iter().zip(self.args) {
            if bound.insert((*name).to_owned(), value).is_some() {
                return Err(Error::custom(format_args!("got multiple values for argument '{name}'")));
            }
        }
        Ok(bound)
    }
}

fn too_many(takes: usize, given: usize) -> Error {
    Error::custom(format_args!("takes {takes} positional arguments but {given} were given"))
}

impl<'de> Deserializer<'de> for Arguments {
    type Error = Error;

    /// A type that does not say its shape gets the kind of arguments that there are.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.args.is_empty() && !self.kwargs.is_empty() {
            true => self.deserialize_map(visitor),
            false => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut values = SeqDeserializer::new(self.positional()?.into_iter());
        let read = visitor.visit_seq(&mut values)?;
        values.end().map(|()| read)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        match self.args.len() {
            given if given > length => Err(too_many(length, given)),
            _ => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.named()?.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        parameters: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(self.bound(parameters)?.into_iter()))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.positional()?.len() {
            0 => visitor.visit_unit(),
            given => Err(too_many(0, given)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Add {
        a: i64,
        #[serde(default)]
        b: i64,
    }

    fn read<A: DeserializeOwned>(args: Value, kwargs: Value) -> Result<A, String> {
        let args = serde_json::from_value(args).unwrap();
        let Value::Object(kwargs) = kwargs else { panic!() };
        Arguments { args, kwargs }.read().map_err(|error| error.to_string())
    }

    #[test]
    fn a_struct_takes_both_kinds_of_arguments() {
        for (args, kwargs) in
            [(json!([1, 2]), json!({})), (json!([1]), json!({"b": 2})), (json!([]), json!({"b": 2, "a": 1}))]
        {
            assert_eq!(read(args, kwargs), Ok(Add { a: 1, b: 2 }));
        }
        assert_eq!(read(json!([1]), json!({})), Ok(Add { a: 1, b: 0 }));
        for (args, kwargs, why) in [
            (json!([1, 2, 3]), json!({}), "takes 2 positional arguments but 3 were given"),
            (json!([1]), json!({"a": 2}), "got multiple values for argument 'a'"),
            (json!([1]), json!({"c": 2}), "got an unexpected keyword argument 'c'"),
            (json!([]), json!({}), "missing field `a`"),
        ] {
            assert_eq!(read::<Add>(args, kwargs), Err(why.to_owned()));
        }
    }

    #[test]
    fn tuples_and_lists_take_positional_ones_and_maps_named_ones() {
        assert_eq!(read(json!([1, "x"]), json!({})), Ok((1, "x".to_owned())));
        assert_eq!(read(json!([1, 2, 3]), json!({})), Ok(vec![1, 2, 3]));
        assert_eq!(read(json!([]), json!({})), Ok(()));
        assert_eq!(read(json!([]), json!({"x": 1})), Ok(BTreeMap::from([("x".to_owned(), 1)])));
        let wrong = "takes 2 positional arguments but 3 were given";
        assert_eq!(read::<(i64, i64)>(json!([1, 2, 3]), json!({})), Err(wrong.to_owned()));
        assert!(read::<(i64, i64)>(json!([1]), json!({})).is_err());
        assert!(read::<(i64,)>(json!([1]), json!({"x": 1})).unwrap_err().contains("'x'"));
        assert!(read::<()>(json!([1]), json!({})).is_err());
        assert!(read::<BTreeMap<String, i64>>(json!([1]), json!({})).is_err());
    }
}
