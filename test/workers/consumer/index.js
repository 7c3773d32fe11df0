// Does with each message what its body asks for at its first delivery, and writes down all deliveries.
//
// Body: { key, say: ["ack", "retry:2", "ackAll", "retryAll:1", "hold:300", "throw", "waitUntil"] }

// Counts the batches of this isolate.
let batches = 0;

/** `GET /?n=` is answered with nothing; `POST /` sends the messages of its body. */
export async function send(request, env) {
  const { messages, options } = await request.json();
  return Response.json(await env.QUEUE.sendBatch(messages, options));
}

export async function consume(batch, env, ctx) {
  batches++;
  await record(batch, env);
  for (const message of batch.messages) {
    if (message.attempts > 1 && !message.body.always) continue;
    for (const word of message.body.say ?? []) await act(word, message, batch, ctx);
  }
}

async function act(word, message, batch, ctx) {
  const [verb, argument] = word.split(":");
  const options = argument === undefined ? undefined : { delaySeconds: Number(argument) };
  switch (verb) {
    case "ack":
      return message.ack();
    case "retry":
      return message.retry(options);
    case "ackAll":
      return batch.ackAll();
    case "retryAll":
      return batch.retryAll(options);
    case "hold":
      return scheduler.wait(Number(argument));
    case "waitUntil":
      return ctx.waitUntil(scheduler.wait(50).then(() => Promise.reject(new Error("left behind"))));
    case "throw":
      throw new Error("as asked");
  }
}

async function record(batch, env) {
  const id = crypto.randomUUID();
  const rows = batch.messages.map((message) => [
    batch.queue,
    id,
    message.body.key,
    message.id,
    message.attempts,
    message.timestamp.getTime(),
    Date.now(),
    env.VERSION ?? null,
    batches,
  ]);
  await env.DB.batch(
    rows.map((row) =>
      env.DB.prepare("INSERT INTO deliveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)").bind(...row),
    ),
  );
}

export default { fetch: send, queue: consume };
