/** Between a method's name and an id. The runtime tells a tail nothing of a call but the method's name. */
const SEPARATOR = " ";
const ID_DIGITS = 16;

/** The name under which a method is called for the invocation of this id. */
export const nameFor = (method: string, id: string): string => method + SEPARATOR + id;

/** The method and the id of a name made by `nameFor`; undefined if it is no such name. */
export function splitName(name: string): { method: string; id: string } | undefined {
  const end = name.length - ID_DIGITS - SEPARATOR.length;
  if (end < 1 || name[end] !== SEPARATOR) return undefined;
  return { method: name.slice(0, end), id: name.slice(end + SEPARATOR.length) };
}
