/** Processes that stay and are spoken to, as a port: nft-sessions.ts holds them, helper-client.ts passes on to those of the helper. */

/** A tracked flow is meant if its line has one of these as a word; `udp`: only one of UDP. */
export interface FlowWord {
  word: string;
  udp?: true;
}

/** Kept `nft -i`, one for each command line that starts it. Those that were refused a place are to be done without. */
export interface Sessions {
  /**
   * Carries out `line`, in one transaction.
   * @returns false when there is no place for another process; then nothing was done
   * @throws COMMAND_FAILED; then nothing changed, unless the process died
   */
  tell(argv: readonly string[], line: string): Promise<boolean>;
  /** Which of these words connection tracking there may know flows of; all of them where that cannot be read. */
  flowsOf(argv: readonly string[], words: readonly FlowWord[]): Promise<FlowWord[]>;
  /** Ends the process, if there is one: it would keep its namespace alive. */
  end(argv: readonly string[]): Promise<void>;
}
