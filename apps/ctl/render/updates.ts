/** How far the update of a service is, in a person's words. */
const WORDS: Readonly<Record<string, string>> = {
  updating: 'updating',
  paused: 'update paused',
  'rolling-back': 'rolling back',
  'rolled-back': 'rolled back',
};

/** @param update the state of its record */
export const updateWords = (update: string): string => WORDS[update] ?? update;
