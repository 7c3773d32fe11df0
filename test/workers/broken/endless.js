// Never gets to its handlers.
let turns = 0;
while (turns >= 0) turns = (turns + 1) % 1000;

export default {};
