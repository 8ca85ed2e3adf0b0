//! A Textract-compatible service for development: AWS JSON 1.1 on loopback, read by Tesseract.
