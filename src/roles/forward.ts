/**
 * What another call has answered, to be returned as one's own answer. The result of a call carries
 * a disposer; returned as it is, it would have the caller keep this call open until it disposes.
 */
export async function forward<T extends object>(answer: Promise<T>): Promise<T> {
  return { ...(await answer) };
}
