import { PhotonImage, resize, SamplingFilter } from "@cf-wasm/photon";

/** Width and height of the square that a thumbnail fits into, in pixels. */
const MAX_SIDE = 256;
const JPEG_QUALITY = 80;

const PNG_SIGNATURE = [0x89, 0x50, 0x4e, 0x47];

/** A picture as it is stored. */
export interface Encoded {
  bytes: Uint8Array;
  contentType: string;
}

/**
 * The picture made small, never larger than it was: a PNG of a PNG, whose background may be
 * transparent, a JPEG of anything else. Throws if it is no picture.
 */
export function makeThumbnail(source: Uint8Array): Encoded {
  const image = PhotonImage.new_from_byteslice(source);
  try {
    const width = image.get_width();
    const height = image.get_height();
    const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
    const side = (length: number): number => Math.max(1, Math.round(length * scale));
    const small = resize(image, side(width), side(height), SamplingFilter.Lanczos3);
    try {
      return PNG_SIGNATURE.every((byte, at) => source[at] === byte)
        ? { bytes: small.get_bytes(), contentType: "image/png" }
        : { bytes: small.get_bytes_jpeg(JPEG_QUALITY), contentType: "image/jpeg" };
    } finally {
      small.free();
    }
  } finally {
    // Memory of WebAssembly is not collected.
    image.free();
  }
}
