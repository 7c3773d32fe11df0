// Eats memory as the path says: never more than this, so that the machine survives a test that fails.
const MAX_MIB = 1_536;
const MiB = 1024 * 1024;

const kept = [];

function* upTo(mib, step) {
  for (let eaten = 0; eaten < mib; eaten += step) yield eaten;
}

const stream = () => {
  const pieces = upTo(MAX_MIB, 1);
  return new ReadableStream({
    pull(controller) {
      if (pieces.next().done) controller.close();
      else controller.enqueue(new Uint8Array(MiB).fill(120));
    },
  });
};

const DEEDS = {
  good: () => {},
  wait: (ms) => scheduler.wait(ms),
  // Only a string that is used is really made.
  strings: () => {
    for (const i of upTo(MAX_MIB, 64)) kept.push(JSON.stringify(`${i}`.padEnd(32 * MiB, "x")));
  },
  "strings-after-an-await": async () => {
    for (const i of upTo(MAX_MIB, 16)) {
      kept.push(JSON.stringify(`${i}`.padEnd(8 * MiB, "x")));
      await scheduler.wait(1);
    }
  },
  "an-array": () => {
    const array = [];
    for (const i of upTo(MAX_MIB, 32 / MiB)) array.push({ i });
    kept.push(array);
  },
  buffers: () => {
    for (const _ of upTo(MAX_MIB, 16)) kept.push(new Uint8Array(16 * MiB).fill(1));
  },
  "a-body-read-whole": async () => kept.push(await new Response(stream()).arrayBuffer()),
  "two-branches": async () => {
    const [one, other] = stream().tee();
    kept.push(other);
    for await (const piece of one) void piece;
  },
  keep: (mib) => kept.push(new Uint8Array(mib * MiB).fill(1)),
};

export default {
  async fetch(request) {
    const [, deed, number] = new URL(request.url).pathname.split("/");
    await DEEDS[deed](Number(number));
    return new Response("survived");
  },
  async queue(batch) {
    for (const { body } of batch.messages) await DEEDS[body]?.();
  },
};
