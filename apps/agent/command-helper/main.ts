/** Entry of the command helper, a small process that runs the agent's commands and ends with it. */
import { serveCommands } from '#linux/helper-server.js';

// Ctrl-C at a terminal goes to the whole group; the agent may still have commands to run.
process.on('SIGINT', () => undefined);
await serveCommands(process.stdin, process.stdout);
process.exit(0);
