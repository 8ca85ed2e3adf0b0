//! Photos that lie on their side: a camera stores the pixels as its sensor had them, and says in EXIF how they are to be turned.
//! Tesseract does not look there.

use hyper::body::Bytes;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Pixels of three bytes.
const PIXEL: usize = 3;
/// EXIF's tag of the orientation.
const ORIENTATION: u16 = 0x0112;

/// The photo as people see it, as a bitmap (PPM); none where the pixels lie as they are seen, or cannot be decoded (who reads
/// them says why).
pub(super) fn upright(jpeg: &[u8]) -> Option<Bytes> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(jpeg), options);
    decoder.decode_headers().ok()?;
    let turn = Turn::of(orientation(decoder.exif()?)?)?;
    let pixels = decoder.decode().ok()?;
    let (width, height) = decoder.dimensions()?;
    turn.bitmap(&pixels, width, height).map(Bytes::from)
}

/// What is done to the pixels, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    /// Rows become columns.
    transposed: bool,
    /// What is left comes right.
    mirrored: bool,
    /// What is above comes below.
    flipped: bool,
}

impl Turn {
    /// By EXIF's number: 1 is upright, 9 and more mean nothing.
    fn of(orientation: u16) -> Option<Self> {
        let (transposed, mirrored, flipped) = match orientation {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => return None,
        };
        Some(Self { transposed, mirrored, flipped })
    }

    fn bitmap(self, pixels: &[u8], width: usize, height: usize) -> Option<Vec<u8>> {
        let (wide, high) = if self.transposed { (height, width) } else { (width, height) };
        let mut bitmap = format!("P6 {wide} {high} 255\n").into_bytes();
        bitmap.reserve(pixels.len());
        for row in 0..high {
            let y = if self.flipped { high - 1 - row } else { row };
            for column in 0..wide {
                let x = if self.mirrored { wide - 1 - column } else { column };
                let from = if self.transposed { x * width + y } else { y * width + x };
                bitmap.extend_from_slice(pixels.get(from * PIXEL..(from + 1) * PIXEL)?);
            }
        }
        Some(bitmap)
    }
}

/// The orientation in EXIF's first directory, which has TIFF's form.
fn orientation(exif: &[u8]) -> Option<u16> {
    let big = match exif.get(..4)? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long: [u8; 4] = exif.get(4..8)?.try_into().ok()?;
    let long = if big { u32::from_be_bytes(long) } else { u32::from_le_bytes(long) };
    let directory = usize::try_from(long).ok()?;
    // Entries of 12 bytes: tag, type, count, and what fits in 4 bytes.
    (0..usize::from(short(directory)?))
        .filter_map(|entry| directory.checked_add(2 + entry * 12))
        .find(|entry| short(*entry) == Some(ORIENTATION))
        .and_then(|entry| short(entry.checked_add(8)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pixels_come_where_exif_says() {
        // Two wide and three high; a letter a pixel.
        let pixels: Vec<u8> = b"abcdef".iter().flat_map(|letter| [*letter; PIXEL]).collect();
        for (orientation, size, expected) in [
            (2, "2 3", "badcfe"),
            (3, "2 3", "fedcba"),
            (4, "2 3", "efcdab"),
            (5, "3 2", "acebdf"),
            (6, "3 2", "ecafdb"),
            (7, "3 2", "fdbeca"),
            (8, "3 2", "bdface"),
        ] {
            let bitmap = Turn::of(orientation).and_then(|turn| turn.bitmap(&pixels, 2, 3));
            let letters: String = expected.chars().flat_map(|letter| [letter; PIXEL]).collect();
            assert_eq!(bitmap, Some(format!("P6 {size} 255\n{letters}").into_bytes()), "{orientation}");
        }
        assert!([0, 1, 9, u16::MAX].iter().all(|orientation| Turn::of(*orientation).is_none()));
    }

    proptest! {
        #[test]
        fn whatever_stands_in_exif_is_survived(head in prop::sample::select(vec![&b"MM\0*"[..], b"II*\0", b""]), rest: Vec<u8>) {
            orientation(&[head, &rest].concat());
        }
    }
}
