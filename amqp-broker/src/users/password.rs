//! Passwords of users. With the feature `management` only their salted hashes are kept, in
//! RabbitMQ's form (<https://www.rabbitmq.com/docs/passwords>).

#[cfg(feature = "management")]
pub(crate) use self::hashed::{HashAlgorithm, Password};
#[cfg(not(feature = "management"))]
pub(crate) use self::plain::Password;

/// Compares in a time that does not depend on how much is equal.
fn are_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
}

#[cfg(not(feature = "management"))]
mod plain {
    /// A password.
    #[derive(Clone)]
    pub(crate) struct Password(String);

    impl Password {
        pub(crate) fn new(password: String) -> Self {
            Password(password)
        }

        /// Tells whether this is the password. As in RabbitMQ, an empty one never is.
        pub(crate) fn is(&self, password: &str) -> bool {
            !password.is_empty() && super::are_equal(self.0.as_bytes(), password.as_bytes())
        }
    }
}

#[cfg(feature = "management")]
mod hashed {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use sha2::{Digest, Sha256, Sha512};

    /// The octets of a salt, which come before the digest.
    const SALT: usize = 4;

    /// The algorithms that RabbitMQ has by default and recommends.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum HashAlgorithm {
        Sha256,
        Sha512,
    }

    impl HashAlgorithm {
        /// RabbitMQ's name for it.
        pub(crate) const fn name(self) -> &'static str {
            match self {
                HashAlgorithm::Sha256 => "rabbit_password_hashing_sha256",
                HashAlgorithm::Sha512 => "rabbit_password_hashing_sha512",
            }
        }

        /// The algorithm of this name; `None` for one that does not exist here, such as MD5.
        pub(crate) fn named(name: &str) -> Option<Self> {
            [HashAlgorithm::Sha256, HashAlgorithm::Sha512].into_iter().find(|known| known.name() == name)
        }

        fn digest(self, salt: &[u8], password: &[u8]) -> Vec<u8> {
            match self {
                HashAlgorithm::Sha256 => {
                    Sha256::new().chain_update(salt).chain_update(password).finalize().to_vec()
                }
                HashAlgorithm::Sha512 => {
                    Sha512::new().chain_update(salt).chain_update(password).finalize().to_vec()
                }
            }
        }

        const fn length(self) -> usize {
            match self {
                HashAlgorithm::Sha256 => 32,
                HashAlgorithm::Sha512 => 64,
            }
        }
    }

    /// The salted hash of a password.
    #[derive(Clone, PartialEq, Eq)]
    pub(crate) struct Password {
        algorithm: HashAlgorithm,
        /// The salt and the digest; empty for a password that nobody can give.
        salted: Vec<u8>,
    }

    impl Password {
        /// Hashes a password with a new salt. Nobody logs in with an empty one.
        pub(crate) fn new(password: String) -> Self {
            let algorithm = HashAlgorithm::Sha256;
            let random = uuid::Uuid::new_v4();
            let salt = random.as_bytes().first_chunk::<SALT>().copied().unwrap_or_default();
            let digest = algorithm.digest(&salt, password.as_bytes());
            drop(password);
            Password { algorithm, salted: [&salt[..], &digest].concat() }
        }

        /// Takes a hash as RabbitMQ writes it; `None` if it is none of this algorithm.
        pub(crate) fn from_hash(algorithm: HashAlgorithm, text: &str) -> Option<Self> {
            let salted = BASE64_STANDARD.decode(text).ok()?;
            (salted.len() == SALT + algorithm.length()).then_some(Password { algorithm, salted })
        }

        /// The hash as RabbitMQ writes it, and its algorithm.
        pub(crate) fn hash(&self) -> (String, HashAlgorithm) {
            (BASE64_STANDARD.encode(&self.salted), self.algorithm)
        }

        /// Tells whether this is the password. As in RabbitMQ, an empty one never is.
        pub(crate) fn is(&self, password: &str) -> bool {
            let Some((salt, digest)) = self.salted.split_at_checked(SALT) else { return false };
            let given = self.algorithm.digest(salt, password.as_bytes());
            !password.is_empty() && super::are_equal(digest, &given)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Made by RabbitMQ 3.10 for the password `guest`.
        #[test]
        fn a_hash_of_rabbitmq_is_understood_and_written_as_it_was() {
            let salted = [&[0x90, 0x8d, 0xc6, 0x0a][..], &Sha256::digest(b"\x90\x8d\xc6\x0atest12")].concat();
            // The example of RabbitMQ's documentation.
            assert_eq!(BASE64_STANDARD.encode(&salted), "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
            let password =
                Password::from_hash(HashAlgorithm::Sha256, &BASE64_STANDARD.encode(&salted)).unwrap();
            assert!(password.is("test12") && !password.is("test13") && !password.is(""));
            assert_eq!(password.hash(), (BASE64_STANDARD.encode(&salted), HashAlgorithm::Sha256));
        }

        #[test]
        fn two_hashes_of_one_password_differ_and_both_hold() {
            let (a, b) = (Password::new("x".to_owned()), Password::new("x".to_owned()));
            assert!(a != b && a.is("x") && b.is("x") && !a.is("y"));
            assert!(!Password::new(String::new()).is(""));
        }

        #[test]
        fn what_is_no_hash_of_the_algorithm_is_refused() {
            let sha512 = BASE64_STANDARD.encode([7; SALT + 64]);
            assert!(Password::from_hash(HashAlgorithm::Sha512, &sha512).is_some());
            for (algorithm, text) in [
                (HashAlgorithm::Sha256, sha512.as_str()),
                (HashAlgorithm::Sha512, "x"),
                (HashAlgorithm::Sha256, ""),
            ] {
                assert!(Password::from_hash(algorithm, text).is_none());
            }
            assert!(HashAlgorithm::named("rabbit_password_hashing_md5").is_none());
        }
    }
}
