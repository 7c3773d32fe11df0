// The package brings types only for its configuration. As CommonJS made from a module, all that it
// exports arrives in Node as members of the default export.
declare module "workerd" {
  const exports: {
    /** Path of the binary. */
    default: string;
  };
  export default exports;
}
