/** An answer that is not a success: `{ "error": { "code", "message", "fields"? } }`. */
export class Problem extends Error {
  override name = "Problem";
  readonly status: 400 | 404 | 409 | 412 | 413 | 422;
  readonly code: string;
  /** What is wrong with each field of the body; `body` stands for the whole. */
  readonly fields: Record<string, string> | undefined;

  constructor(
    status: Problem["status"],
    code: string,
    message: string,
    fields?: Record<string, string>,
  ) {
    super(message);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}
