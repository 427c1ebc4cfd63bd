//! The macro behind the method table: a line a method in, structs and their wire form out.

/// Declares classes and their methods; see `method/mod.rs` for the table it is made for.
///
/// For each class it makes a module with one struct a method and an enum `Method` over them. Over
/// all classes it makes the enum `Method`, with ids, names, decoding and encoding. `by` names the
/// side that may send a method, `-> Reply` the method that answers it.
macro_rules! methods {
    ($(
        $(#[$class_doc:meta])*
        $Class:ident($class:ident) = $class_id:literal {
            $(
                $(#[$doc:meta])*
                $Name:ident($name:literal) = $id:literal by $Sender:ident $(-> $Reply:ident)? {
                    $($field:ident: $type:ty),* $(,)?
                }
            )*
        }
    )*) => {
        $(
            $(#[$class_doc])*
            pub mod $class {
                use super::*;

                /// The class's number on the wire.
                pub const CLASS_ID: u16 = $class_id;

                $(
                    $(#[$doc])*
                    #[derive(Clone, Debug, Default, PartialEq, Eq)]
                    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
                    #[allow(missing_docs, reason = "the fields are the protocol's; the specification documents them")]
                    pub struct $Name { $(pub $field: $type,)* }

                    impl Arguments for $Name {
                        const ID: MethodId = MethodId { class_id: $class_id, method_id: $id };
                        const NAME: &'static str = concat!(stringify!($class), ".", $name);
                        const FIELDS: &'static [Field] =
                            &[$(Field { name: stringify!($field), kind: <$type as Argument>::KIND },)*];
                        const SENDER: Sender = Sender::$Sender;

                        #[allow(unused_variables, reason = "some methods have no arguments")]
                        fn write_arguments(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
                            $(self.$field.write(writer, concat!(stringify!($class), ".", $name, " ", stringify!($field)))?;)*
                            Ok(())
                        }

                        #[allow(unused_variables, reason = "some methods have no arguments")]
                        fn read_arguments(reader: &mut Reader<'_>) -> Result<Self, Error> {
                            Ok($Name {
                                $($field: Argument::read(reader, concat!(stringify!($class), ".", $name, " ", stringify!($field)))?,)*
                            })
                        }
                    }

                    impl fmt::Display for $Name {
                        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                            f.write_str(Self::NAME)?;
                            $(show_argument(stringify!($field), &self.$field, f)?;)*
                            Ok(())
                        }
                    }

                    impl From<$Name> for super::Method {
                        fn from(method: $Name) -> Self {
                            super::Method::$Class(Method::$Name(method))
                        }
                    }

                    impl TryFrom<super::Method> for $Name {
                        type Error = super::Method;

                        fn try_from(method: super::Method) -> Result<Self, super::Method> {
                            match method {
                                super::Method::$Class(Method::$Name(method)) => Ok(method),
                                other => Err(other),
                            }
                        }
                    }

                    $(impl super::Request for $Name { type Reply = $Reply; })?
                )*

                $(#[$class_doc])*
                #[derive(Clone, Debug, PartialEq, Eq)]
                #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
                pub enum Method {
                    $($(#[$doc])* $Name($Name),)*
                }
            }
        )*

        /// Any method of any class. `Display` shows its name and the arguments that are set.
        #[derive(Clone, PartialEq, Eq)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub enum Method {
            $($(#[$class_doc])* $Class($class::Method),)*
        }

        impl fmt::Display for Method {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($(Method::$Class($class::Method::$Name(method)) => method.fmt(f),)*)* }
            }
        }

        impl Method {
            /// Class and method number.
            pub fn id(&self) -> MethodId {
                match self { $($(Method::$Class($class::Method::$Name(_)) => $class::$Name::ID,)*)* }
            }

            /// The method's name in the specification, `queue.declare-ok`.
            pub fn name(&self) -> &'static str {
                match self { $($(Method::$Class($class::Method::$Name(_)) => $class::$Name::NAME,)*)* }
            }

            /// Which side may send it.
            pub fn sender(&self) -> Sender {
                match self { $($(Method::$Class($class::Method::$Name(_)) => $class::$Name::SENDER,)*)* }
            }

            pub(crate) fn read(id: MethodId, reader: &mut Reader<'_>) -> Result<Self, Error> {
                match (id.class_id, id.method_id) {
                    $($(($class_id, $id) => $class::$Name::read_arguments(reader).map(Method::from),)*)*
                    (class_id, method_id) => Err(Error::UnknownMethod { class_id, method_id }),
                }
            }

            fn write_arguments(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
                match self { $($(Method::$Class($class::Method::$Name(method)) => method.write_arguments(writer),)*)* }
            }
        }

        impl MethodId {
            /// The method's name in the specification; `None` for a number it does not have.
            pub fn name(self) -> Option<&'static str> {
                match (self.class_id, self.method_id) {
                    $($(($class_id, $id) => Some($class::$Name::NAME),)*)*
                    _ => None,
                }
            }

            /// The method's arguments in their order on the wire; `None` for a number the
            /// specification does not have.
            pub fn fields(self) -> Option<&'static [Field]> {
                match (self.class_id, self.method_id) {
                    $($(($class_id, $id) => Some($class::$Name::FIELDS),)*)*
                    _ => None,
                }
            }

            /// Each argument as errors name it, and its kind; `None` for a number the specification
            /// does not have.
            pub(crate) fn arguments(self) -> Option<&'static [(&'static str, FieldKind)]> {
                match (self.class_id, self.method_id) {
                    $($(($class_id, $id) => Some(&[$((
                        concat!(stringify!($class), ".", $name, " ", stringify!($field)),
                        <$type as Argument>::KIND,
                    ),)*]),)*)*
                    _ => None,
                }
            }

            /// Which side may send the method; `None` for a number the specification does not have.
            pub const fn sender(self) -> Option<Sender> {
                match (self.class_id, self.method_id) {
                    $($(($class_id, $id) => Some($class::$Name::SENDER),)*)*
                    _ => None,
                }
            }

            /// The method that answers this one; `None` when none does. `basic.get` may also be
            /// answered by `basic.get-empty`.
            pub fn reply(self) -> Option<MethodId> {
                let reply: &[MethodId] = match (self.class_id, self.method_id) {
                    $($(($class_id, $id) => &[$($class::$Reply::ID)?],)*)*
                    _ => &[],
                };
                reply.first().copied()
            }

            /// Every method, in the order of the table.
            pub const ALL: &'static [MethodId] = &[$($($class::$Name::ID,)*)*];
        }
    };
}

pub(crate) use methods;
