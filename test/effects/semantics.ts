import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../support/process.ts'

/** What must hold for money to be moved once. Each has tests that are named for it: its id stands in their names, in brackets. */
export const SEMANTICS: Readonly<Record<string, string>> = {
  'P-1':
    'Message and business row are committed or rolled back together; publishing outside of a transaction is an error.',
  'P-2': 'A message’s id is fixed in its row: retries, dead letters, redrives and publishing it again keep it.',
  'P-3': 'A command that is sent twice makes one message, under a dedupe key; with another payload it is an error.',
  'P-4':
    'Messages of one key follow the order of commits; a failed one lets a later one pass only where the policy says so.',
  'P-5': 'A crash anywhere loses nothing that was committed.',
  'C-1':
    '(consumer, message) is noted first, in the handler’s transaction, with its rows and messages, at READ COMMITTED.',
  'C-2': 'A duplicate at the same time waits a bounded time, and is then put off without using an attempt.',
  'C-3': 'A handler that fails leaves nothing, no inbox row either; its attempt is counted all the same.',
  'C-4': 'A COMMIT that rolls back is a failure; one whose answer is lost is settled by delivering again.',
  'C-5': 'A delivery ends with the commit; who ends it after losing the lease changes nothing.',
  'C-6': 'Processed ids are kept for longer than anything can be delivered again, or it does not start.',
  'C-7': 'A consumer that is renamed, split or merged keeps what it has done.',
  'E-1': 'No answer, a broken connection, a server error and a dead process are unknown, never failed.',
  'E-2':
    'What is unknown is asked for, or repeated with the same key within the provider’s window; after it, a person has to look.',
  'E-3': 'A provider that forgets keys sooner than the queue stops repeating is refused, with the numbers.',
  'E-4': 'What a provider replays is said per provider: to reconcile, or a new key after a confirmed absence.',
  'E-5': 'A new key is made only after a definite no, never for an unknown.',
  'E-6':
    'Every write is fenced; a process that was stopped past its lease begins no call, and its late answer is kept.',
  'E-7': 'Without keys of the provider you choose: idempotent, or at most once.',
  'E-8': 'Every duplicate gets the recorded answer, redacted and sealed as you say, limited in size.',
  'E-9': 'The operation’s name is the business’s, and no message’s: two messages that ask for one charge make one.',
  'E-10':
    'Several steps are several operations: resumed at the first that is not recorded, undone under keys of their own.',
  'E-11': 'Every call of the provider has the key, and a line in the record.',
  'E-12': 'A redrive enters at the ledger; who resolves an operation is written down, with the reason.',
  'E-13': 'Webhooks enter once per (provider, event id), in any order, and may resolve an unknown.',
  'O-1':
    'A key whose entry failed is parked until it succeeds, and its later entries wait in order; it is told, and other keys go on.',
  'O-2': 'What is too late is not called for the first time, and has failed as expired.',
  'O-3': 'The amount is read from the database when it is charged.',
  'O-4':
    'Every attempt is in an append-only record: when, by whom, under which token, for which request, with which outcome.',
  'O-5': 'Every operation that has succeeded has one ledger entry; what wants somebody is listed.',
  'O-6': 'Bodies are sealed with your key and erased on demand; that the operation is done stays.',
}

export interface NamedTest {
  readonly file: string
  readonly name: string
}

/** The tests that are named for each of them. */
export function testsById(): Map<string, NamedTest[]> {
  const found = new Map<string, NamedTest[]>()
  for (const file of globSync('test/**/*.test.ts', { cwd: ROOT }).sort()) {
    const text = readFileSync(join(ROOT, file), 'utf8')
    for (const [, name, ids] of text.matchAll(/'([^'\n]*) \(((?:(?:step \d|[PCEO]-\d+)(?:, )?)+)\)'/g)) {
      for (const id of ids!.split(', ')) found.set(id, [...(found.get(id) ?? []), { file, name: name! }])
    }
  }
  return found
}

/** The table of docs/payments.md. */
export function semanticsTable(): string {
  const tests = testsById()
  const rows = Object.entries(SEMANTICS).map(([id, words]) => {
    const files = new Set((tests.get(id) ?? []).map(({ file }) => `\`${file}\``))
    return `| ${id} | ${words} | ${[...files].join(', ')} |`
  })
  return ['| | what holds | tests that are named for it |', '|---|---|---|', ...rows].join('\n')
}
