import add from "./add.wasm";
import bytes from "./bytes.bin";
import greet from "./greet.cjs";
import text from "./text.txt";
import { upper } from "./upper.mjs";

const { exports } = new WebAssembly.Instance(add);

export default {
  fetch() {
    return Response.json({
      wasm: exports.add(20, 22),
      data: [...new Uint8Array(bytes)],
      cjs: greet("mayfly"),
      text,
      esm: upper("es"),
    });
  },
};
