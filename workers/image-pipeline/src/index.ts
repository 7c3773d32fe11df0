import type { Env } from "./env.ts";
import type { Notification } from "./notification.ts";
import { IMAGES, THUMBNAILS, updateThumbnail } from "./thumbnail.ts";

export default {
  /** `GET /<name>`: the thumbnail of the picture `images/<name>`. */
  async fetch(request, env) {
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("Method not allowed\n", { status: 405, headers: { allow: "GET, HEAD" } });
    }
    const name = decodeURIComponent(new URL(request.url).pathname.slice(1));
    const thumbnail = await env.BUCKET.get(THUMBNAILS + name, { onlyIf: request.headers });
    if (!thumbnail) return new Response("Not found\n", { status: 404 });
    const headers = new Headers({ etag: thumbnail.httpEtag, "cache-control": "no-cache" });
    thumbnail.writeHttpMetadata(headers);
    return "body" in thumbnail
      ? new Response(thumbnail.body, { headers })
      : new Response(null, { status: 304, headers });
  },

  /** Takes what the bucket tells of changes under images/. */
  async queue(batch, env) {
    // One after the other: each picture takes memory.
    for (const message of batch.messages) {
      const { key } = message.body.object;
      try {
        if (key.startsWith(IMAGES)) await updateThumbnail(env.BUCKET, key.slice(IMAGES.length));
        message.ack();
      } catch (error) {
        console.error(`${key}: ${String(error)}`);
        message.retry();
      }
    }
  },
} satisfies ExportedHandler<Env, Notification>;
