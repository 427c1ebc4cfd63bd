use messaging::{Compression, Malformed};

const ALL: [Compression; 5] =
    [Compression::Zlib, Compression::Zstd, Compression::Bzip2, Compression::Xz, Compression::Brotli];
const LIMIT: u64 = 1 << 16;

/// An octet for the kind of compression, then a compressed body: nothing is decompressed to more
/// than the limit. And the same octets as a body that is compressed: it comes back, and is refused
/// when it is over the limit.
pub fn compression(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let compression = ALL[usize::from(*kind) % ALL.len()];
    if let Ok(decompressed) = compression.decompress(body, LIMIT) {
        assert!(decompressed.len() as u64 <= LIMIT, "{compression} gave {} bytes", decompressed.len());
    }
    let compressed = compression.compress(body).expect("anything can be compressed");
    let length = body.len() as u64;
    assert_eq!(compression.decompress(&compressed, length).expect("it was compressed"), body);
    if length > 0 {
        let refused = compression.decompress(&compressed, length - 1);
        assert!(matches!(refused, Err(Malformed::TooLarge { .. })), "{compression}: {refused:?}");
    }
}
