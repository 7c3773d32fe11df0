/** Something that whoever runs `mayfly` can put right: shown as its message, without a stack. */
export class HostError extends Error {
  override readonly name = "HostError";
}
