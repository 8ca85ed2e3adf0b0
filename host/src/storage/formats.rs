//! What a file is that Textract does not read, by its first bytes, and what to do about it.

use super::sniff;

/// What the bytes are and what to do; none for JPEG, PNG, TIFF and PDF.
pub fn unsupported(bytes: &[u8]) -> Option<String> {
    if sniff(bytes) != "application/octet-stream" {
        return None;
    }
    let known = container(bytes).or_else(|| binary(bytes)).map(str::to_owned).or_else(|| text(bytes));
    let known = known.map(|known| format!("it is {known}; ")).unwrap_or_default();
    Some(format!("{known}neither JPEG, PNG, TIFF nor PDF by its first bytes"))
}

/// How many pages a PDF or TIFF seems to have, where they are more than the one that a synchronous call takes. A PDF may hide
/// its pages in compressed streams.
pub fn more_pages(bytes: &[u8]) -> Option<usize> {
    let pages = match sniff(bytes) {
        "application/pdf" => pdf_pages(bytes),
        "image/tiff" => tiff_pages(bytes),
        _ => 1,
    };
    (pages > 1).then_some(pages)
}

/// ISO media files: a box "ftyp" with a brand, and those that it is compatible with.
fn container(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8)? != b"ftyp" {
        return None;
    }
    let brands: Vec<&[u8]> = bytes.get(8..64.min(bytes.len()))?.chunks(4).collect();
    let has = |names: &[&[u8]]| brands.iter().any(|brand| names.contains(brand));
    Some(match () {
        () if has(&[b"avif", b"avis"]) => "AVIF: convert it to JPEG before the upload",
        () if has(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) => {
            "HEIC, as iPhones make it: convert it to JPEG before the upload (on iPhones: Settings, Camera, Most Compatible)"
        }
        () if has(&[b"crx "]) => "a camera's raw file (CR3): convert it to JPEG before the upload",
        () => "a video (MP4, QuickTime): store a photo",
    })
}

fn binary(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Some("WebP: convert it to JPEG or PNG before the upload");
    }
    if !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0) {
        return Some("nothing but zero bytes, so that the upload was damaged: upload it again");
    }
    const KNOWN: [(&[u8], &str); 19] = [
        (b"GIF8", "GIF: convert it to PNG before the upload"),
        (b"BM", "BMP: convert it to PNG before the upload"),
        (b"8BPS", "PSD (Photoshop): export it as JPEG"),
        (b"\x00\x00\x00\x0cJXL ", "JPEG XL: convert it to JPEG before the upload"),
        (b"\xff\x0a", "JPEG XL: convert it to JPEG before the upload"),
        (b"\x00\x00\x00\x0cjP  ", "JPEG 2000: convert it to JPEG before the upload"),
        (b"\xff\x4f\xff\x51", "JPEG 2000: convert it to JPEG before the upload"),
        (b"II+\x00", "BigTIFF: convert it to TIFF or JPEG before the upload"),
        (b"MM\x00+", "BigTIFF: convert it to TIFF or JPEG before the upload"),
        (b"\x00\x00\x01\x00", "an icon (ICO): store a photo"),
        (b"PK\x03\x04", "a ZIP file, as DOCX and XLSX are: export it as PDF, or store what is in it"),
        (b"\xd0\xcf\x11\xe0", "an old Office document (DOC, XLS): export it as PDF"),
        (b"{\\rtf", "RTF: export it as PDF"),
        (b"%!PS", "PostScript: convert it to PDF"),
        (b"\x1f\x8b", "gzip: store what is in it"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive: store what is in it"),
        (b"Rar!", "a RAR archive: store what is in it"),
        (b"\x1a\x45\xdf\xa3", "a video (Matroska, WebM): store a photo"),
        (b"wOF", "a font: store a photo"),
    ];
    KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, known)| *known)
}

fn text(bytes: &[u8]) -> Option<String> {
    const BASE64: [(&str, &str); 6] = [
        ("/9j/", "a JPEG"),
        ("iVBORw0KGgo", "a PNG"),
        ("JVBERi0", "a PDF"),
        ("SUkqA", "a TIFF"),
        ("TU0AK", "a TIFF"),
        ("UklGR", "a WebP"),
    ];
    let head = bytes.get(..4096.min(bytes.len()))?;
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    // The 4,096 bytes may end within a letter.
    let head = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(head.get(..error.valid_up_to())?).ok()?,
        Err(_) => return None,
    };
    if head.contains('\0') {
        return None;
    }
    let head = head.trim_start();
    if head.is_empty() {
        return None;
    }
    if let Some((_, what)) = BASE64.iter().find(|(start, _)| head.starts_with(start)) {
        return Some(format!("the Base64 text of {what}: store the bytes that it stands for, decoded"));
    }
    let lower = head.to_ascii_lowercase();
    let is_html = ["<!doctype html", "<html", "<head", "<body"].iter().any(|start| lower.starts_with(start));
    let known = match () {
        () if lower.starts_with("data:") => "a data: URL: store the bytes that it stands for, decoded",
        () if is_html => "HTML, an error page perhaps: see what the upload was answered, and upload it again",
        () if lower.starts_with('<') && lower.contains("<svg") => "SVG: convert it to PNG before the upload",
        () if lower.starts_with('<') => {
            "XML, an error of S3's perhaps: see what the upload was answered, and upload it again"
        }
        () if lower.starts_with('{') || lower.starts_with('[') => {
            "JSON, an error message perhaps: see what the upload was answered, and upload it again"
        }
        () if lower.starts_with("--") && lower.contains("content-disposition:") => {
            "a whole form (multipart/form-data): store the file that is in it"
        }
        () => "text: store a photo",
    };
    Some(known.to_owned())
}

/// Objects of type Page, of which Pages are the tree.
fn pdf_pages(bytes: &[u8]) -> usize {
    let of_type = bytes.windows(5).enumerate().filter(|(_, window)| *window == b"/Type").map(|(at, _)| at + 5);
    of_type
        .filter_map(|at| bytes.get(at..)?.trim_ascii_start().strip_prefix(b"/Page"))
        .filter(|rest| rest.first().is_none_or(|next| !next.is_ascii_alphabetic()))
        .count()
}

/// The chain of directories, one a page.
fn tiff_pages(bytes: &[u8]) -> usize {
    // As many as anybody is told of; a chain may be a circle.
    const MOST: usize = 1000;
    let little = bytes.starts_with(b"II");
    let number = |at: usize, width: usize| -> Option<usize> {
        let field = bytes.get(at..at.checked_add(width)?)?;
        let add = |sum: usize, byte: &u8| (sum << 8) | usize::from(*byte);
        Some(if little { field.iter().rev().fold(0, add) } else { field.iter().fold(0, add) })
    };
    let next = |at: usize| number(at.checked_add(2)?.checked_add(number(at, 2)?.checked_mul(12)?)?, 4);
    let first = number(4, 4).filter(|at| *at > 0);
    std::iter::successors(first, |at| next(*at).filter(|at| *at > 0)).take(MOST).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_textract_does_not_read_is_named_with_what_to_do() {
        for (bytes, name) in [
            (&b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "HEIC"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
            (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
            (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", "WebP"),
            (b"GIF89a", "GIF"),
            (b"BM\x36\0\0\0", "BMP"),
            (b"8BPS\0\x01", "PSD"),
            (b"\xff\x0a\xfa", "JPEG XL"),
            (b"II+\0\x08\0", "BigTIFF"),
            (b"PK\x03\x04\x14\0", "DOCX"),
            (b"\xef\xbb\xbf  <!DOCTYPE HTML><html>", "HTML"),
            (b"<?xml version=\"1.0\"?><svg xmlns=\"\">", "SVG"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied", "XML"),
            (b"{\"error\": \"no\"}", "JSON"),
            (b"/9j/4AAQSkZJRgABAQ", "Base64 text of a JPEG"),
            (b"iVBORw0KGgoAAAANSUhEUg", "Base64 text of a PNG"),
            (b"data:image/jpeg;base64,/9j/", "data: URL"),
            (b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n", "multipart"),
            (b"Hello", "text"),
            (b"\0\0\0\0\0\0", "zero bytes"),
        ] {
            let told = unsupported(bytes).unwrap();
            assert!(told.contains(name) && told.contains("neither JPEG"), "{name}: {told}");
        }
        assert_eq!(unsupported(b"\x07\xfe\xff").unwrap(), "neither JPEG, PNG, TIFF nor PDF by its first bytes");
        for read in [&b"\xff\xd8\xff\xe0"[..], b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"%PDF-1.7"] {
            assert_eq!(unsupported(read), None);
        }
    }

    #[test]
    fn pages_are_counted() {
        let pdf = b"%PDF-1.4 /Type /Pages /Count 2 /Type/Page /Type /Page>> /Type /PageLabel";
        assert_eq!(more_pages(pdf), Some(2));
        assert_eq!(more_pages(b"%PDF-1.4 /Type /Pages /Type /Page"), None);
        // Two directories without entries, the second after the first; then one that leads to itself.
        assert_eq!(more_pages(b"II*\0\x08\0\0\0\0\0\x0e\0\0\0\0\0\0\0\0\0"), Some(2));
        assert_eq!(more_pages(b"MM\0*\0\0\0\x08\0\0\0\0\0\0"), None);
        assert_eq!(more_pages(b"II*\0\x08\0\0\0\0\0\x08\0\0\0"), Some(1000));
        assert_eq!(more_pages(b"II*\0\xff\xff\xff\xff"), None);
        assert_eq!(more_pages(b"\xff\xd8\xff\xe0"), None);
    }
}
