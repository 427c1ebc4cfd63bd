use messaging::{Compression, Malformed};

const ALL: [Compression; 5] =
    [Compression::Zlib, Compression::Zstd, Compression::Bzip2, Compression::Xz, Compression::Brotli];
const LIMIT: u64 = 1 << 16;

/// The first octet selects the compression; the rest is a compressed body, which is never
/// decompressed beyond the limit. The same bytes are then compressed: they decompress to
/// themselves, and are refused when they are over the limit.
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
