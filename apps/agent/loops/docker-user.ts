/** Keeps our rules in Docker's DOCKER-USER, which comes and goes with Docker, and is emptied by who restarts a firewall. */
import type { Stop } from '#base/dispose.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';

const LOOK_MS = 5_000;

/** @param keep gives the tools whose chain had to be changed */
export function startDockerUserLoop(keep: () => Promise<string[]>, log: Log): Stop {
  let complained = '';
  const look = async () => {
    try {
      const changed = await keep();
      if (changed.length > 0) log.info({ by: changed }, 'put the rules of ours in DOCKER-USER right');
      complained = '';
    } catch (error) {
      const what = messageOf(error);
      if (what !== complained) log.warn({ error: what }, 'could not keep the rules of ours in DOCKER-USER');
      complained = what;
    }
  };
  let looking = look();
  const timer = setInterval(() => (looking = looking.then(look)), LOOK_MS);
  return async () => {
    clearInterval(timer);
    await looking;
  };
}
