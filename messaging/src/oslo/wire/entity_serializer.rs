//! Conversion of an application's values to JSON values and back.

use std::{borrow::Cow, fmt, sync::Arc};

use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{
    error::Error,
    oslo::{error::oslo::OsloError, wire::context::Context},
    serialize::{self, BoxError},
};

/// Converts an application's values to values that JSON can represent, and back: for example a
/// versioned object to a tagged map. Converts the context as well: it may remove credentials or
/// look them up. oslo.messaging calls this a serializer.
///
/// An entity is a single argument of a method, or its result. By default each function returns what
/// it is given. Integers beyond 64 bits arrive as floats.
///
/// ```
/// use messaging::{BoxError, Context, EntitySerializer};
/// use serde_json::{Value, json};
///
/// /// Says the unit of temperatures.
/// struct Celsius;
///
/// impl EntitySerializer for Celsius {
///     fn serialize_entity(&self, _context: &Context, entity: Value) -> Result<Value, BoxError> {
///         Ok(json!({"celsius": entity}))
///     }
///
///     fn deserialize_entity(
///         &self,
///         _context: &Context,
///         mut entity: Value,
///     ) -> Result<Value, BoxError> {
///         Ok(entity.get_mut("celsius").ok_or("no temperature")?.take())
///     }
/// }
/// ```
pub trait EntitySerializer: Send + Sync + 'static {
    /// Returns what to send for an entity.
    ///
    /// # Errors
    /// When it cannot be sent: the call or cast fails with [`OsloError::Entity`], and a method's
    /// result becomes a failure.
    fn serialize_entity(&self, context: &Context, entity: Value) -> Result<Value, BoxError> {
        let _ = context;
        Ok(entity)
    }

    /// Returns the entity for what was sent. This comes from a peer: do not trust it unchecked.
    ///
    /// # Errors
    /// When it is not a valid entity. For a result, the caller gets [`OsloError::Entity`]; for an
    /// argument, it gets the same as when the method failed.
    fn deserialize_entity(&self, context: &Context, entity: Value) -> Result<Value, BoxError> {
        let _ = context;
        Ok(entity)
    }

    /// Returns what to send for a context.
    ///
    /// # Errors
    /// When it cannot be sent.
    fn serialize_context(&self, context: &Context) -> Result<Context, BoxError> {
        Ok(context.clone())
    }

    /// Returns the context for what was sent. This comes from a peer.
    ///
    /// # Errors
    /// When it is not a valid context: the method is not run, and its caller gets the error.
    fn deserialize_context(&self, context: Context) -> Result<Context, BoxError> {
        Ok(context)
    }
}

/// An [`EntitySerializer`], if one is set.
#[derive(Clone, Default)]
pub(crate) struct Conversion(Option<Arc<dyn EntitySerializer>>);

impl Conversion {
    pub(crate) fn by(serializer: impl EntitySerializer) -> Self {
        Conversion(Some(Arc::new(serializer)))
    }

    pub(crate) fn has_serializer(&self) -> bool {
        self.0.is_some()
    }

    /// Serializes each value of a JSON object separately.
    pub(crate) fn serialize_arguments<'a>(
        &self,
        context: &Context,
        arguments: &'a RawValue,
    ) -> Result<Cow<'a, RawValue>, Error> {
        match &self.0 {
            None => Ok(Cow::Borrowed(arguments)),
            Some(by) => {
                let serialized = each(arguments, |entity| by.serialize_entity(context, entity));
                serialized.map(Cow::Owned).map_err(failed("an argument"))
            }
        }
    }

    pub(crate) fn deserialize_arguments<'a>(
        &self,
        context: &Context,
        arguments: &'a RawValue,
    ) -> Result<Cow<'a, RawValue>, Error> {
        match &self.0 {
            None => Ok(Cow::Borrowed(arguments)),
            Some(by) => {
                let deserialized = each(arguments, |entity| by.deserialize_entity(context, entity));
                deserialized.map(Cow::Owned).map_err(failed("an argument"))
            }
        }
    }

    pub(crate) fn serialize_result(
        &self,
        context: &Context,
        result: Box<RawValue>,
    ) -> Result<Box<RawValue>, Error> {
        match &self.0 {
            None => Ok(result),
            Some(by) => {
                let serialized = one(&result, |entity| by.serialize_entity(context, entity));
                serialized.map_err(failed("a result"))
            }
        }
    }

    pub(crate) fn deserialize_result(
        &self,
        context: &Context,
        result: Option<Box<RawValue>>,
    ) -> Result<Option<Box<RawValue>>, Error> {
        match &self.0 {
            None => Ok(result),
            Some(by) => {
                let result = result.as_deref().unwrap_or(RawValue::NULL);
                let deserialized = one(result, |entity| by.deserialize_entity(context, entity));
                deserialized.map(Some).map_err(failed("a result"))
            }
        }
    }

    pub(crate) fn serialize_context<'a>(&self, context: &'a Context) -> Result<Cow<'a, Context>, Error> {
        match &self.0 {
            None => Ok(Cow::Borrowed(context)),
            Some(by) => by.serialize_context(context).map(Cow::Owned).map_err(failed("a context")),
        }
    }

    pub(crate) fn deserialize_context(&self, context: Context) -> Result<Context, Error> {
        match &self.0 {
            None => Ok(context),
            Some(by) => by.deserialize_context(context).map_err(failed("a context")),
        }
    }
}

impl fmt::Debug for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.has_serializer() { "by a serializer" } else { "as they are" })
    }
}

fn one(
    entity: &RawValue,
    convert: impl FnOnce(Value) -> Result<Value, BoxError>,
) -> Result<Box<RawValue>, BoxError> {
    Ok(to_raw_value(&convert(serialize::from_json(entity.get())?)?)?)
}

fn each(
    object: &RawValue,
    convert: impl Fn(Value) -> Result<Value, BoxError>,
) -> Result<Box<RawValue>, BoxError> {
    let entities: Map<String, Value> = serialize::from_json(object.get())?;
    let converted = entities.into_iter().map(|(name, entity)| Ok((name, convert(entity)?)));
    Ok(to_raw_value(&converted.collect::<Result<Map<_, _>, BoxError>>()?)?)
}

fn failed(what: &'static str) -> impl FnOnce(BoxError) -> Error {
    move |source| OsloError::Entity { what, source }.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Tagged;

    impl EntitySerializer for Tagged {
        fn serialize_entity(&self, context: &Context, entity: Value) -> Result<Value, BoxError> {
            Ok(json!({"by": context.get("user"), "is": entity}))
        }

        fn deserialize_entity(&self, _context: &Context, mut entity: Value) -> Result<Value, BoxError> {
            Ok(entity.get_mut("is").ok_or("untagged")?.take())
        }
    }

    fn raw(value: &Value) -> Box<RawValue> {
        to_raw_value(value).unwrap()
    }

    #[test]
    fn each_argument_is_an_entity_and_so_is_the_result() {
        let (conversion, context) = (Conversion::by(Tagged), Context::new().with("user", "alice"));
        let arguments = raw(&json!({"a": 1, "b": null}));
        let sent = conversion.serialize_arguments(&context, &arguments).unwrap();
        let value: Value = serde_json::from_str(sent.get()).unwrap();
        assert_eq!(value, json!({"a": {"by": "alice", "is": 1}, "b": {"by": "alice", "is": null}}));
        let came = conversion.deserialize_arguments(&context, &sent).unwrap();
        assert_eq!(came.get(), arguments.get());

        let sent = conversion.serialize_result(&context, raw(&json!([1]))).unwrap();
        assert_eq!(sent.get(), r#"{"by":"alice","is":[1]}"#);
        assert_eq!(conversion.deserialize_result(&context, Some(sent)).unwrap().unwrap().get(), "[1]");
        let untagged = conversion.deserialize_result(&context, None).unwrap_err();
        assert_eq!(
            amqp_client::Report(&untagged).to_string(),
            "the entity serializer refuses a result: untagged"
        );
    }

    #[test]
    fn without_a_serializer_everything_stays_as_it_is() {
        let (conversion, context) = (Conversion::default(), Context::new());
        let arguments = RawValue::from_string("{ \"a\": 1208925819614629174706176 }".to_owned()).unwrap();
        let sent = conversion.serialize_arguments(&context, &arguments).unwrap();
        assert!(matches!(sent, Cow::Borrowed(same) if same.get() == arguments.get()));
        assert!(matches!(conversion.serialize_context(&context), Ok(Cow::Borrowed(_))));
    }
}
