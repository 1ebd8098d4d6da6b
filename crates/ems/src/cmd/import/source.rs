//! The bytes of an import: a file or stdin, decompressed on the way where they are compressed.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use flate2::bufread::MultiGzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 256 * 1024;

/// How many bytes were read so far, before decompression. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

impl Meter {
    /// The number.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let more = u64::try_from(read).unwrap_or_default();
        self.meter.0.fetch_add(more, Ordering::Relaxed);
        Ok(read)
    }
}

/// The text of an import.
pub(crate) type Text = Box<dyn BufRead + Send>;

/// Opens a file, or stdin for `-`, and decompresses gzip and zstd by what the bytes are.
pub(crate) fn open(path: &Path, meter: Meter) -> Result<Text> {
    if path == Path::new("-") {
        return Ok(decompressed(io::stdin(), meter)?);
    }
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    decompressed(file, meter).with_context(|| format!("{} cannot be read", path.display()))
}

/// The text of bytes in memory.
pub(crate) fn of_bytes(bytes: &'static [u8], meter: Meter) -> Result<Text> {
    Ok(decompressed(bytes, meter)?)
}

fn decompressed(inner: impl Read + Send + 'static, meter: Meter) -> io::Result<Text> {
    let mut reader = BufReader::with_capacity(BUFFER, Metered { inner, meter });
    let begins = reader.fill_buf()?;
    if begins.starts_with(&GZIP) {
        let text = MultiGzDecoder::new(reader);
        return Ok(Box::new(BufReader::with_capacity(BUFFER, text)));
    }
    if begins.starts_with(&ZSTD) {
        let text = zstd::stream::read::Decoder::with_buffer(reader)?;
        return Ok(Box::new(BufReader::with_capacity(BUFFER, text)));
    }
    Ok(Box::new(reader))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn read(bytes: Vec<u8>) -> String {
        let mut text = String::new();
        let mut source = of_bytes(bytes.leak(), Meter::default()).unwrap();
        source.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn reads_plain_gzip_of_two_members_and_zstd_alike() {
        let gzip = |text: &str| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        assert_eq!(read(b"a,b\n".to_vec()), "a,b\n");
        assert_eq!(read([gzip("a,"), gzip("b\n")].concat()), "a,b\n");
        assert_eq!(read(zstd::encode_all(&b"a,b\n"[..], 1).unwrap()), "a,b\n");
        assert_eq!(read(Vec::new()), "");
    }
}
