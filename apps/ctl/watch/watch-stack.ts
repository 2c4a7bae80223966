/** Watches the files of a project until the command is ended. */
import { withApi } from '../connection.js';
import { loadProject } from '../project.js';
import type { ProjectFlags } from '../project-options.js';
import { say, type Shell } from '../shell.js';
import { Watcher } from './watcher.js';

export interface WatchOptions {
  /** All that watch something when empty. */
  services: readonly string[];
  quiet: boolean;
  /** Builds these services and rolls them out. */
  rebuild: (services: readonly string[]) => Promise<void>;
}

/** Resolves when the user ends it. @throws COMPOSE_INVALID, UNAVAILABLE */
export async function watchStack(
  shell: Shell,
  flags: ProjectFlags & { context?: string },
  { services, quiet, rebuild }: WatchOptions,
): Promise<void> {
  const { watches, builds, stack } = await loadProject(shell, flags);
  const chosen = new Map([...watches].filter(([service]) => services.length === 0 || services.includes(service)));
  const ending = new AbortController();
  const unhear = shell.onSignal(['SIGINT', 'SIGTERM'], () => ending.abort());
  try {
    await withApi(shell, flags.context, async (connection) => {
      const watcher = new Watcher({ shell, connection, stack, rebuild, quiet });
      await watcher.begin(chosen, builds);
      say(shell, `watching the files of ${[...chosen.keys()].join(', ')}; Ctrl-C ends it`);
      await watcher.run(ending.signal);
    });
  } finally {
    unhear();
  }
}
