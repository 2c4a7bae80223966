/** Entry of the command helper, a small process that runs the agent's commands and ends with it. */
import { serveCommands } from '#linux/helper-server.js';

/** Serves until its standard input ends, and ends the process. */
export async function program(): Promise<void> {
  // Ctrl-C at a terminal goes to the whole group; the agent may still have commands to run.
  process.on('SIGINT', () => undefined);
  await serveCommands(process.stdin, process.stdout);
  process.exit(0);
}
