import { type Encoded, makeThumbnail } from "./image.ts";

/** Where pictures are put, and where their thumbnails go under the same name. */
export const IMAGES = "images/";
export const THUMBNAILS = "thumbnails/";

/** Larger files are not read: decoded, they would need more memory than a worker has. */
const MAX_SOURCE_BYTES = 10_000_000;

/**
 * Makes the thumbnail what it should be now: of the picture that is there, or not there at all. It
 * does not matter why it is called, how often, or in which order, so neither does it matter that
 * notifications may come twice, late, or after later ones.
 */
export async function updateThumbnail(bucket: R2Bucket, name: string): Promise<void> {
  let source = await bucket.head(IMAGES + name);
  for (;;) {
    const thumbnail = await bucket.head(THUMBNAILS + name);
    if (thumbnail?.customMetadata?.["source"] !== source?.etag) {
      const made = source && (await thumbnailOf(bucket, source));
      if (source && made) {
        await bucket.put(THUMBNAILS + name, made.bytes, {
          httpMetadata: { contentType: made.contentType },
          customMetadata: { source: source.etag },
        });
      } else if (thumbnail) {
        await bucket.delete(THUMBNAILS + name);
      }
    }
    // Another call may have been at work meanwhile, with a newer picture or an older one: whoever
    // ends last must have seen what is there at the end.
    const latest = await bucket.head(IMAGES + name);
    if (latest?.etag === source?.etag) return;
    source = latest;
  }
}

/** The thumbnail of the picture, or undefined if it is none, too large, or no longer there. */
async function thumbnailOf(bucket: R2Bucket, source: R2Object): Promise<Encoded | undefined> {
  if (source.size > MAX_SOURCE_BYTES) {
    console.warn(`${source.key}: ${source.size} bytes, more than ${MAX_SOURCE_BYTES}`);
    return undefined;
  }
  const object = await bucket.get(source.key, { onlyIf: { etagMatches: source.etag } });
  if (!object || !("body" in object)) return undefined;
  const bytes = await object.bytes();
  try {
    return makeThumbnail(bytes);
  } catch (error) {
    // It will not become one by being tried again.
    console.warn(`${source.key}: no picture that can be read: ${String(error)}`);
    return undefined;
  }
}
