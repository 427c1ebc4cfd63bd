//! The compressions of bodies, and their names.

use std::{borrow::Cow, fmt, str::FromStr};

use bytes::Bytes;

#[cfg(feature = "brotli")]
use super::brotli;
#[cfg(feature = "bzip2")]
use super::bzip2;
#[cfg(feature = "xz")]
use super::xz;
use super::zlib;
#[cfg(feature = "zstd")]
use super::zstd;
use crate::error::{CompressionError, Malformed};

/// The default limit of a decompressed body: 128 MiB. A larger one is refused, because a few bytes
/// can become gigabytes.
pub const DECOMPRESSED_LIMIT: u64 = 128 * 1024 * 1024;

/// The compressions of bodies that kombu knows, under kombu's names. All but [`Zlib`](Self::Zlib)
/// need a feature of this crate.
///
/// ```
/// use messaging::Compression;
///
/// let compression: Compression = "gzip".parse()?;
/// assert_eq!(compression, Compression::Zlib);
/// let compressed = compression.compress(b"a body")?;
/// assert_eq!(compression.decompress(&compressed, 1024)?, b"a body");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// `application/x-gzip`, `gzip` or `zlib`: zlib's format under any of its names, never gzip's.
    Zlib,
    /// `application/zstd`, `zstd` or `zstandard`; feature `zstd`. Windows up to 8 MiB are read.
    Zstd,
    /// `application/x-bz2`, `bzip2` or `bzip`; feature `bzip2`.
    Bzip2,
    /// `application/x-lzma`, `lzma` or `xz`: the format of `.xz`; feature `xz`. Dictionaries up to
    /// 64 MiB are read.
    Xz,
    /// `application/x-brotli` or `brotli`; feature `brotli`.
    Brotli,
}

impl Compression {
    /// All compressions, whether compiled in or not.
    pub const ALL: [Compression; 5] =
        [Compression::Zlib, Compression::Zstd, Compression::Bzip2, Compression::Xz, Compression::Brotli];

    /// Returns what kombu writes into the header `compression`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Compression::Zlib => "application/x-gzip",
            Compression::Zstd => "application/zstd",
            Compression::Bzip2 => "application/x-bz2",
            Compression::Xz => "application/x-lzma",
            Compression::Brotli => "application/x-brotli",
        }
    }

    /// Returns kombu's name, which is also the name of this crate's feature, if it needs one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Compression::Zlib => "zlib",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Brotli => "brotli",
        }
    }

    /// Compresses a body.
    ///
    /// # Errors
    /// [`CompressionError::NotCompiled`] when its feature is off.
    pub fn compress(self, body: &[u8]) -> Result<Bytes, CompressionError> {
        let compressed = match self {
            Compression::Zlib => zlib::compress(body),
            #[cfg(feature = "zstd")]
            Compression::Zstd => zstd::compress(body),
            #[cfg(feature = "bzip2")]
            Compression::Bzip2 => bzip2::compress(body),
            #[cfg(feature = "xz")]
            Compression::Xz => xz::compress(body),
            #[cfg(feature = "brotli")]
            Compression::Brotli => brotli::compress(body),
            #[allow(unreachable_patterns)]
            other => return Err(CompressionError::NotCompiled { feature: other.name() }),
        };
        let failed = |source| CompressionError::Failed { compression: self.name(), source };
        compressed.map(Bytes::from).map_err(failed)
    }

    /// Decompresses a body.
    ///
    /// # Errors
    /// [`Malformed::Compression`] when it is not of this format or truncated,
    /// [`Malformed::TooLarge`] when it would be over `limit` bytes, [`Malformed::NotCompiled`] when
    /// the feature is off.
    pub fn decompress(self, body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
        match self {
            Compression::Zlib => zlib::decompress(body, limit),
            #[cfg(feature = "zstd")]
            Compression::Zstd => zstd::decompress(body, limit),
            #[cfg(feature = "bzip2")]
            Compression::Bzip2 => bzip2::decompress(body, limit),
            #[cfg(feature = "xz")]
            Compression::Xz => xz::decompress(body, limit),
            #[cfg(feature = "brotli")]
            Compression::Brotli => brotli::decompress(body, limit),
            #[allow(unreachable_patterns)]
            other => Err(Malformed::NotCompiled { feature: other.name() }),
        }
    }
}

/// The names of the compressions that are compiled in.
pub(super) const COMPILED: &[&str] = &[
    "zlib",
    #[cfg(feature = "zstd")]
    "zstd",
    #[cfg(feature = "bzip2")]
    "bzip2",
    #[cfg(feature = "xz")]
    "xz",
    #[cfg(feature = "brotli")]
    "brotli",
];

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parses any of kombu's names, or the content type.
impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(name: &str) -> Result<Self, CompressionError> {
        Ok(match name {
            "application/x-gzip" | "gzip" | "zlib" => Compression::Zlib,
            "application/zstd" | "zstd" | "zstandard" => Compression::Zstd,
            "application/x-bz2" | "bzip2" | "bzip" => Compression::Bzip2,
            "application/x-lzma" | "lzma" | "xz" => Compression::Xz,
            "application/x-brotli" | "brotli" => Compression::Brotli,
            _ => return Err(CompressionError::Unknown(name.to_owned())),
        })
    }
}

/// Decompresses the body, if it is compressed.
pub(crate) fn decompress(
    compression: Option<Compression>,
    body: &[u8],
    limit: u64,
) -> Result<Cow<'_, [u8]>, Malformed> {
    match compression {
        Some(compression) => compression.decompress(body, limit).map(Cow::Owned),
        None => Ok(Cow::Borrowed(body)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::write::GzEncoder;

    use super::*;

    /// Returns the compressions that are compiled in, each with the output of Python for `b"kombu "
    /// * 20`.
    fn compiled() -> Vec<(Compression, &'static str)> {
        PYTHON.into_iter().filter(|(compression, _)| compression.compress(b"").is_ok()).collect()
    }

    fn python() -> Vec<u8> {
        b"kombu ".repeat(20)
    }

    #[test]
    fn gzip_is_refused_under_the_name_that_kombu_gives_zlib() {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(b"{}").unwrap();
        let gzip = encoder.finish().unwrap();
        assert!(matches!(decompress("gzip".parse().ok(), &gzip, 9), Err(Malformed::Compression(_))));
    }

    #[test]
    fn what_is_not_compressed_is_left_alone() {
        assert!(matches!(decompress(None, b"{}", 1).unwrap(), Cow::Borrowed(b"{}")));
    }

    #[test]
    fn all_of_kombus_names_are_known() {
        for (compression, names) in [
            (Compression::Zlib, ["application/x-gzip", "gzip", "zlib"]),
            (Compression::Zstd, ["application/zstd", "zstd", "zstandard"]),
            (Compression::Bzip2, ["application/x-bz2", "bzip2", "bzip"]),
            (Compression::Xz, ["application/x-lzma", "lzma", "xz"]),
            (Compression::Brotli, ["application/x-brotli", "brotli", "brotli"]),
        ] {
            assert_eq!(names.map(|name| name.parse::<Compression>().unwrap()), [compression; 3]);
            assert_eq!(compression.content_type(), names[0]);
            assert_eq!(compression.to_string().parse::<Compression>().unwrap(), compression);
        }
        assert!(
            matches!("bz2".parse::<Compression>(), Err(CompressionError::Unknown(name)) if name == "bz2")
        );
    }

    #[test]
    fn bodies_come_back_as_they_were() {
        let noise: Vec<u8> = (0..70_000).map(|_| fastrand::u8(..)).collect();
        for (compression, _) in compiled() {
            for body in [&b""[..], b"a", &[7; 50_000], &noise] {
                let compressed = compression.compress(body).unwrap();
                let read = compression.decompress(&compressed, body.len() as u64);
                assert_eq!(read.unwrap(), body, "{compression}, {} bytes", body.len());
            }
        }
    }

    #[test]
    fn what_python_wrote_is_read() {
        for (compression, body) in compiled() {
            assert_eq!(compression.decompress(&bytes(body), 120).unwrap(), python(), "{compression}");
        }
    }

    #[test]
    fn nothing_grows_over_the_limit() {
        for (compression, body) in compiled() {
            let too_large = compression.decompress(&bytes(body), 119);
            assert!(matches!(too_large, Err(Malformed::TooLarge { limit: 119 })), "{compression}");
            let bomb = compression.compress(&vec![0; 500_000]).unwrap();
            assert!(bomb.len() < 1000, "{compression} makes {} bytes of nothing", bomb.len());
            let read = compression.decompress(&bomb, 1000);
            assert!(matches!(read, Err(Malformed::TooLarge { limit: 1000 })), "{compression}");
        }
    }

    #[test]
    fn no_truncation_passes() {
        for (compression, body) in compiled() {
            let body = bytes(body);
            for end in 0..body.len() {
                let cut = compression.decompress(&body[..end], 1000);
                assert!(matches!(cut, Err(Malformed::Compression(_))), "{compression} cut at {end}");
            }
        }
    }

    #[test]
    fn garbage_is_an_error_or_something_else_and_ends() {
        for (compression, body) in compiled() {
            let body = bytes(body);
            for at in 0..body.len() {
                let mut damaged = body.clone();
                damaged[at] ^= 1 << fastrand::u8(..8);
                let _ = compression.decompress(&damaged, 1000);
            }
            for length in 0..50 {
                let noise: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
                let _ = compression.decompress(&noise, 1000);
            }
        }
    }

    #[test]
    fn what_is_not_compiled_in_names_its_feature() {
        for compression in Compression::ALL {
            if let Err(error) = compression.compress(b"a") {
                let feature = compression.name();
                assert_eq!(
                    error.to_string(),
                    format!(
                        "the compression is not in this build: feature `{feature}` of `messaging` is off"
                    )
                );
                let refused = compression.decompress(b"a", 9);
                assert!(
                    matches!(refused, Err(Malformed::NotCompiled { feature: named }) if named == feature)
                );
            }
        }
        assert!(Compression::Zlib.compress(b"").is_ok());
        assert_eq!(Compression::Bzip2.compress(b"").is_ok(), cfg!(feature = "bzip2"));
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    const PYTHON: [(Compression, &str); 5] = [
        (Compression::Zlib, "789ccbcecf4d2a55c8a63b0900a87a2cd9"),
        (Compression::Zstd, "28b52ffd20786d0000306b6f6d62752001002f692902"),
        (
            Compression::Bzip2,
            "425a683931415926535977b499a500001d91804000100a8200200030c00295467a989d27e4c4c4c4f0bb9229c28483bda4cd28",
        ),
        (
            Compression::Xz,
            "fd377a585a000004e6d6b4460200210116000000742fe5a3e00077000d5d00359bc9f2a8e899e48abd24000000000000b0bd1f2730d0cbbb00012978ced31e3a1fb6f37d010000000004595a",
        ),
        (Compression::Brotli, "1b7700f88d54b5bf06596b7b536275115b1c807902"),
    ];
}
