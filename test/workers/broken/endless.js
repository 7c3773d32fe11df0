// Never gets to its handlers.
for (;;);

export default {};
