/**
 * Whether an invocation is among those that are kept, at a share from 0 to 1. By its id, so that all who ask
 * find the same without telling each other. Ids are counted, hence mixed first (the finalizer of MurmurHash3).
 */
export function isSampled(id: string, rate: number): boolean {
  if (rate >= 1) return true;
  let hash = 0;
  for (let index = 0; index < id.length; index++) {
    hash = Math.imul(hash ^ id.charCodeAt(index), 0x5bd1e995);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32 < rate;
}
