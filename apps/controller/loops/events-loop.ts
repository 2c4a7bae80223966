/** Writes down what happened, gathered: a few writes a second at most, however much goes on. */
import { appendEvents } from '#planner/event-ring.js';
import { waitingNews } from '#planner/waiting-events.js';
import type { EventBook } from '../cluster/event-book.js';
import type { LeaderLoop } from '../cluster/leader.js';
import { Replan, runMarked, type LoopTools } from './leader-loop.js';
import type { WaitingBoard } from './waiting-board.js';

const COLLECTIONS = ['stacks', 'tasks', 'task-status', 'nodes', 'node-states', 'node-facts', 'updates'];
const GATHER_MS = 250;

export function eventsLoop(tools: LoopTools, book: EventBook, board: WaitingBoard): LeaderLoop {
  const replan = new Replan();
  return (term, signal) => {
    const tick = async (): Promise<number | undefined> => {
      const { follower, clock } = tools;
      if (!follower.current || !follower.model.cluster) return undefined;
      const { waiting } = book;
      const news = board.shown && waitingNews(follower.model, board.shown, clock.now());
      const unit = appendEvents(follower.model, waiting, news?.drafts);
      const { refused } = unit ? await term.apply([unit]) : { refused: [] };
      if (refused.length === 0) book.written(waiting.at(-1)?.revision ?? 0);
      return replan.after(refused) ?? news?.againMs;
    };
    return runMarked(tools, COLLECTIONS, { name: 'events', debounceMs: GATHER_MS, tick }, signal, (mark) => board.listen(mark));
  };
}
