/** Before the name of a binding: its stub once more, by which the prelude makes the calls. No binding is named so. */
export const DOUBLE_PREFIX = "mayfly:double:";
