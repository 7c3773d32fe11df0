import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";
import { PhotonImage } from "@cf-wasm/photon/node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { callApi } from "./harness/api.ts";
import { type Platform, startPlatform } from "./harness/platform.ts";
import { until } from "./harness/processes.ts";
import { fetchWorker } from "./harness/worker-fetch.ts";

// workers/image-pipeline as its README sets it up, with pictures of every kind of ending.
const cwd = join(import.meta.dirname, "../workers/image-pipeline");

let platform: Platform;
let folder: string;
let address: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mayfly-images-"));
  platform = await startPlatform();
  await wrangler("r2", "bucket", "create", "image-pipeline");
  await wrangler("queues", "create", "image-pipeline");
  await wrangler("queues", "create", "image-pipeline-failed");
  const deployed = await wrangler("deploy");
  const host = /^ +(image-pipeline\.\S+)$/m.exec(deployed)?.[1];
  expect(host, deployed).toBeDefined();
  address = `http://${host}:${platform.port}`;
  const events = ["--event-types", "object-create", "object-delete", "--prefix", "images/"];
  const queue = ["--queue", "image-pipeline"];
  await wrangler("r2", "bucket", "notification", "create", "image-pipeline", ...queue, ...events);
});

afterAll(async () => {
  await platform?.stop();
  await rm(folder, { recursive: true, force: true });
});

async function wrangler(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await platform.wrangler(args, { cwd });
  expect(code, stdout + stderr).toBe(0);
  return stdout;
}

const object = (key: string, init: RequestInit): Promise<Response> =>
  platform.fetchApi(
    `/accounts/${platform.accountId}/r2/buckets/image-pipeline/objects/${key}`,
    init,
  );

async function put(key: string, body: Uint8Array<ArrayBuffer>): Promise<void> {
  expect((await object(key, { method: "PUT", body })).status).toBe(200);
}

const get = (name: string): Promise<Response> => fetchWorker(new URL(name, address));

/** Waits until the worker answers with the status for this name. */
async function untilStatus(name: string, status: number): Promise<Response> {
  await until(async () => (await get(name)).status === status, 20_000);
  return get(name);
}

async function thumbnailOf(name: string): Promise<{ type: string | null; bytes: Buffer }> {
  const response = await untilStatus(name, 200);
  return {
    type: response.headers.get("content-type"),
    bytes: Buffer.from(await response.arrayBuffer()),
  };
}

/** A PNG of noise, which no format makes small. */
function makePng(width: number, height: number): Buffer<ArrayBuffer> {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  // Eight bits for each of red, green and blue.
  header.set([8, 2, 0, 0, 0], 8);
  const rows = Array.from({ length: height }, () =>
    Buffer.concat([Buffer.of(0), randomBytes(width * 3)]),
  );
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(Buffer.concat(rows))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** A part of a PNG: length, type, data, checksum. */
function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}

function makeJpeg(width: number, height: number): Uint8Array<ArrayBuffer> {
  const image = PhotonImage.new_from_byteslice(makePng(width, height));
  const jpeg = image.get_bytes_jpeg(90);
  image.free();
  return new Uint8Array(jpeg);
}

/** Width and height as a PNG's header says. */
function sizeOfPng(png: Buffer): [number, number] {
  expect(png.toString("latin1", 1, 4)).toBe("PNG");
  return [png.readUInt32BE(16), png.readUInt32BE(20)];
}

/** Width and height as a JPEG's start of frame says. */
function sizeOfJpeg(jpeg: Buffer): [number, number] {
  expect(jpeg.readUInt16BE(0)).toBe(0xffd8);
  for (let at = 2; ; at += 2 + jpeg.readUInt16BE(at + 2)) {
    const marker = jpeg.readUInt16BE(at);
    if (marker >= 0xffc0 && marker <= 0xffc2) {
      return [jpeg.readUInt16BE(at + 7), jpeg.readUInt16BE(at + 5)];
    }
  }
}

it("a picture gets a thumbnail, which goes with it", async () => {
  const file = join(folder, "wide.png");
  await writeFile(file, makePng(640, 320));
  const key = "image-pipeline/images/wide.png";
  await wrangler("r2", "object", "put", key, "--file", file, "--remote");
  const { type, bytes } = await thumbnailOf("/wide.png");
  expect(type).toBe("image/png");
  expect(sizeOfPng(bytes)).toEqual([256, 128]);

  await wrangler("r2", "object", "delete", key, "--remote");
  await untilStatus("/wide.png", 404);
  const stored = await object("thumbnails/wide.png", { method: "GET" });
  expect(stored.status).toBe(404);
});

it("a JPEG's thumbnail is a JPEG, and a small picture stays as large as it is", async () => {
  await put("images/2026/tall%20one.jpg", makeJpeg(300, 600));
  await put("images/small.png", makePng(20, 10));
  const { type, bytes } = await thumbnailOf("/2026/tall%20one.jpg");
  expect(type).toBe("image/jpeg");
  expect(sizeOfJpeg(bytes)).toEqual([128, 256]);
  expect(sizeOfPng((await thumbnailOf("/small.png")).bytes)).toEqual([20, 10]);
});

it("a picture put over another gets a thumbnail of its own", async () => {
  await put("images/changing.png", makePng(400, 400));
  expect(sizeOfPng((await thumbnailOf("/changing.png")).bytes)).toEqual([256, 256]);
  await put("images/changing.png", makePng(512, 64));
  const wide = async (): Promise<boolean> =>
    sizeOfPng((await thumbnailOf("/changing.png")).bytes)[1] === 32;
  await until(wide, 20_000);
});

it("a file that is no picture has no thumbnail and holds nothing up", async () => {
  await put("images/report.png", Buffer.from("not a picture"));
  await put("images/cut.png", makePng(300, 300).subarray(0, 5000));
  await put("images/after.png", makePng(300, 300));
  await thumbnailOf("/after.png");
  expect((await get("/report.png")).status).toBe(404);
  expect((await get("/cut.png")).status).toBe(404);
});

it("messages that come twice, late or in the wrong order change nothing", async () => {
  await put("images/stays.png", makePng(300, 300));
  await thumbnailOf("/stays.png");
  await put("images/leaves.png", makePng(300, 300));
  await thumbnailOf("/leaves.png");
  await object("images/leaves.png", { method: "DELETE" });
  await untilStatus("/leaves.png", 404);

  const account = `/accounts/${platform.accountId}`;
  const queues = await callApi(platform, "GET", `${account}/queues?name=image-pipeline`);
  const queue = `${account}/queues/${queues.result[0].queue_id}`;
  const message = (action: string, key: string): { body: unknown } => ({
    body: { account: platform.accountId, action, bucket: "image-pipeline", object: { key } },
  });
  const sent = await callApi(platform, "POST", `${queue}/messages/batch`, {
    messages: [
      message("DeleteObject", "images/stays.png"),
      message("PutObject", "images/leaves.png"),
      message("PutObject", "images/leaves.png"),
      message("PutObject", "images/stays.png"),
    ],
  });
  expect(sent.status, sent.message).toBe(200);
  await until(async () => {
    const { result } = await callApi(platform, "GET", `${queue}/metrics`);
    return result.backlog_count === 0;
  }, 20_000);
  expect((await get("/stays.png")).status).toBe(200);
  expect((await get("/leaves.png")).status).toBe(404);
});
