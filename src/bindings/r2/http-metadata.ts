/**
 * Sets the headers that an object's HTTP metadata stands for, and leaves alone those that it has not.
 * https://developers.cloudflare.com/r2/api/workers/workers-api-reference/#http-metadata
 */
export function writeHttpMetadata(metadata: R2HTTPMetadata, headers: Headers): void {
  const values = {
    "content-type": metadata.contentType,
    "content-language": metadata.contentLanguage,
    "content-disposition": metadata.contentDisposition,
    "content-encoding": metadata.contentEncoding,
    "cache-control": metadata.cacheControl,
    expires: metadata.cacheExpiry?.toUTCString(),
  };
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined) headers.set(name, value);
  }
}
