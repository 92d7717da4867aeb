import type { Counted, From, Group, GroupStatus, ParkedKey, Stream } from '../index.ts'
import { command, databaseCommand, duration, told, wholeBetween } from './command.ts'
import { confirm } from './confirm.ts'
import { BadNews, UsageFailure } from './failure.ts'
import { fromText } from './from.ts'
import { withPosthaste } from './open.ts'
import { cut, harmless, print, printHeading, printJson, printTable, span } from './output.ts'
import { myName } from './who.ts'

const GROUP = `"stream","group","members","lag","lagCounted","lagMs","parked","parkedKeys","heldKeys",
   "replaying","paused":{"until","reason","by"},"madeAt","movedAt"`

export function streamCommand() {
  return command('stream')
    .description(
      'Operates the groups that read a stream: how far they are, where they go on, and what they have put aside.',
    )
    .addCommand(groupsCommand())
    .addCommand(seekCommand())
    .addCommand(replayCommand())
    .addCommand(pauseCommand())
    .addCommand(resumeCommand())
    .addCommand(deleteCommand())
    .addCommand(blockedCommand())
    .addCommand(retryCommand())
    .addCommand(skipCommand())
    .addCommand(releaseCommand())
    .addHelpText(
      'after',
      told({
        example: `posthaste stream groups ledger
posthaste stream replay ledger fraud --from 2h --dry-run
posthaste stream blocked ledger fraud`,
      }),
    )
}

/** A command about one group of a stream. */
function groupCommand(name: string) {
  return databaseCommand(name)
    .argument('<stream>', 'the stream')
    .argument('[group]', 'the group (default: the one that is named as the stream is)')
}

function groupsCommand() {
  return databaseCommand('groups')
    .description(
      'Lists the groups of a stream, how far they lag in messages and in time, and what they have put aside.',
    )
    .argument('<stream>', 'the stream')
    .addHelpText(
      'after',
      told({
        example: 'posthaste stream groups ledger',
        json: `{"version":1,"stream","groups":[{${GROUP}}]}
   members: processes that read now; lag: messages it has not read, reckoned and not counted when lagCounted is false;
   lagMs: how long ago the oldest of them was published, or null; heldKeys: those that wait for a person`,
      }),
    )
    .action(async (stream, options) => {
      const groups = await withStream(stream, options, (named) => named.groups())
      if (options.json) printJson({ stream, groups })
      else await showGroups(stream, groups)
    })
}

function seekCommand() {
  return groupCommand('seek')
    .description(
      'Lets a group go on from somewhere else, back or forth, when it is told yes. What is parked stays parked.',
    )
    .option('--to <where>', WHERE, fromText)
    .option('--dry-run', 'change nothing, and say what there is to read from there')
    .option('--yes', 'do not ask')
    .option('--by <name>', 'who does it; the journal shows it (default: you)')
    .addHelpText(
      'after',
      told({
        example: `posthaste stream seek ledger fraud --to 2026-01-31T00:00:00Z --dry-run
posthaste stream seek ledger fraud --to latest --yes`,
        json: `{"version":1,"stream","group","dryRun","messages","processed","lagBefore"}
   messages: those from there on; processed: those of them that the inbox knows, when the group reads with a replay guard`,
      }),
    )
    .action(async (stream, group, options) => {
      const { dryRun = false, yes, json } = options
      const to = given(options.to, 'seek', '--to')
      const by = options.by ?? myName()
      const { counted, lag } = await withGroup(stream, group, options, async (named) => {
        const { lag } = await named.status()
        const counted = await named.seek(to, { dryRun: true })
        if (dryRun) return { counted, lag }
        const passed = Math.max(0, lag - counted.messages)
        const again = Math.max(0, counted.messages - lag)
        if (passed > 0)
          await confirm({ count: passed, verb: 'pass over', what: messages(passed), how: 'unread', yes, json })
        if (again > 0) await confirm({ count: again, verb: 'read', what: messages(again), how: 'once more', yes, json })
        return { counted: await named.seek(to, { by }), lag }
      })
      if (json) return printJson({ ...namesOf(stream, group), dryRun, ...counted, lagBefore: lag })
      const begun = dryRun ? 'There are' : 'It goes on with'
      print(`${begun} ${counted.messages} ${messages(counted.messages)} from there${knownOf(counted)}`)
    })
}

function replayCommand() {
  return groupCommand('replay')
    .description(
      'Lets a group read a part of the log again, and then go on from where it is now. What its replay guard knows is passed over.',
    )
    .option('--from <where>', FROM, fromText)
    .option(
      '--to <where>',
      'where it ends: before a time, or with a message (default: with what is there now)',
      fromText,
    )
    .option('--dry-run', 'change nothing, and say how many there are and how many are known')
    .option('--yes', 'do not ask')
    .option('--by <name>', 'who does it; the journal shows it (default: you)')
    .addHelpText(
      'after',
      told({
        example: `posthaste stream replay ledger fraud --from 2h --dry-run
posthaste stream replay ledger fraud --from 2026-01-31T00:00:00Z --to 2026-02-01T00:00:00Z --yes`,
        json: `{"version":1,"stream","group","dryRun","messages","processed"}
   processed: those that the inbox knows, and that take no effect again, when the group reads with a replay guard`,
      }),
    )
    .action(async (stream, group, options) => {
      const { dryRun = false, yes, json } = options
      const by = options.by ?? myName()
      const range = { from: begin(given(options.from, 'replay', '--from')), to: end(options.to) }
      const counted = await withGroup(stream, group, options, async (named) => {
        const counted = await named.replay({ ...range, dryRun: true })
        if (dryRun || counted.messages === 0) return counted
        const count = counted.messages
        await confirm({ count, verb: 'read', what: messages(count), how: `again${knownOf(counted)}`, yes, json })
        return await named.replay({ ...range, by })
      })
      if (json) return printJson({ ...namesOf(stream, group), dryRun, ...counted })
      print(
        `${counted.messages} ${messages(counted.messages)} ${dryRun ? 'would be' : 'are'} read again${knownOf(counted)}`,
      )
    })
}

function pauseCommand() {
  return groupCommand('pause')
    .description(
      'No process reads anything for the group from now on; handlers under way finish, and where it is stays.',
    )
    .option(
      '--for <time>',
      'then it resumes by itself: 500ms, 30s, 10m, 2h, 1d (default: until it is resumed)',
      duration,
    )
    .option('--reason <text>', 'why; stream groups shows it')
    .option('--by <name>', 'who does it; stream groups shows it (default: you)')
    .addHelpText(
      'after',
      told({
        example: 'posthaste stream pause ledger fraud --for 10m --reason "the model is being replaced"',
        json: '{"version":1,"stream","group","paused":{"until","reason","by"}}    until is null: until it is resumed',
      }),
    )
    .action(async (stream, group, options) => {
      const { for: forMs, reason } = options
      const by = options.by ?? myName()
      const { paused } = await withGroup(stream, group, options, async (named) => {
        await named.pause({ forMs, reason, by })
        return await named.status()
      })
      if (options.json) return printJson({ ...namesOf(stream, group), paused })
      print(
        `${called(stream, group)} is paused ${paused?.until ? `until ${paused.until.toISOString()}` : 'until it is resumed'}`,
      )
    })
}

function resumeCommand() {
  return groupCommand('resume')
    .description('Lets the group go on, whoever paused it.')
    .addHelpText(
      'after',
      told({
        example: 'posthaste stream resume ledger fraud',
        json: '{"version":1,"stream","group","resumed"}    resumed is false: it was not paused',
      }),
    )
    .action(async (stream, group, options) => {
      const resumed = await withGroup(stream, group, options, (named) => named.resume())
      if (options.json) printJson({ ...namesOf(stream, group), resumed })
      else print(resumed ? `${called(stream, group)} goes on` : `${called(stream, group)} was not paused`)
    })
}

function deleteCommand() {
  return groupCommand('delete')
    .description('Deletes the group, when it is told yes: where it is, and what it has put aside. The log stays.')
    .option('--yes', 'do not ask')
    .option('--by <name>', 'who does it; the journal shows it (default: you)')
    .addHelpText(
      'after',
      told({
        example: 'posthaste stream delete ledger fraud --yes',
        json: '{"version":1,"stream","group","deleted","parked"}    parked: messages that were put aside, and are gone',
      }),
    )
    .action(async (stream, group, options) => {
      const { yes, json } = options
      const by = options.by ?? myName()
      const { parked } = await withGroup(stream, group, options, async (named) => {
        const { parked, lag } = await named.status()
        const content = parked + lag > 0 ? ` with ${parked} parked and ${lag} unread messages` : ''
        await confirm({ count: 1, what: `group${content}`, yes, json })
        return await named.delete(by === undefined ? {} : { by })
      })
      if (json) return printJson({ ...namesOf(stream, group), deleted: true, parked })
      print(
        `${called(stream, group)} is deleted${parked > 0 ? `, and ${parked} parked ${messages(parked)} with it` : ''}`,
      )
    })
}

function blockedCommand() {
  return groupCommand('blocked')
    .description(
      'Lists the keys that a group has put aside because a message failed, the oldest first, and what waits behind each.',
    )
    .option('--key <key>', 'this one alone, with its errors')
    .option('--limit <count>', 'how many, 1 to 10000', wholeBetween(1, 10_000), 100)
    .addHelpText(
      'after',
      told({
        example: `posthaste stream blocked ledger fraud
posthaste stream blocked ledger fraud --key o1`,
        json: `{"version":1,"stream","group",
   "keys":[{"key","scope","lane","attempts","errors":[…],"dueAt","held","parkedAt","waiting","messageId","type","payload"}]}
   scope: key, message (without a key, or with headOfLine skip), or lane (headOfLine block, whose messages wait in the log);
   waiting: messages behind the head; dueAt is null when it is held, and waits for a person`,
      }),
    )
    .action(async (stream, group, options) => {
      const { key, limit } = options
      const keys = await withGroup(stream, group, options, (named) => named.parked({ key, limit }))
      if (options.json) return printJson({ ...namesOf(stream, group), keys: keys.map(asJson) })
      await showBlocked(stream, group, keys)
      if (key !== undefined) await showErrors(keys)
    })
}

function retryCommand() {
  return keyCommand('retry')
    .description(
      'Attempts the head of a blocked key now, also one that is held; what waits behind it follows in order. Exit code 1: no such key.',
    )
    .addHelpText(
      'after',
      told({
        example: 'posthaste stream retry ledger fraud --key o1',
        json: '{"version":1,"stream","group","key","retried"}',
      }),
    )
    .action(async (stream, group, options) => {
      const key = given(options.key, 'retry', '--key')
      const retried = await withGroup(stream, group, options, (named) => named.retry(key))
      if (options.json) printJson({ ...namesOf(stream, group), key, retried })
      else print(retried ? `The head of "${harmless(key)}" is attempted` : `"${harmless(key)}" is not blocked`)
      if (!retried) throw new BadNews('it is not blocked')
    })
}

function skipCommand() {
  return keyCommand('skip')
    .description(
      'Passes over the head of a blocked key, when it is told yes: it becomes a dead letter, and what waits behind it follows in order. Exit code 1: no such key.',
    )
    .option('--yes', 'do not ask')
    .option('--by <name>', 'who does it; the journal shows it (default: you)')
    .addHelpText(
      'after',
      told({
        example: 'posthaste stream skip ledger fraud --key o1 --yes',
        json: '{"version":1,"stream","group","key","skipped"}    skipped: the id of the message, or null',
      }),
    )
    .action(async (stream, group, options) => {
      const { yes, json } = options
      const key = given(options.key, 'skip', '--key')
      const by = options.by ?? myName()
      const skipped = await withGroup(stream, group, options, async (named) => {
        const [head] = await named.parked({ key })
        if (!head) return null
        const behind = head.waiting > 0 ? `, which ${head.waiting} wait for,` : ''
        await confirm({
          count: 1,
          verb: 'skip',
          what: `message ${head.messageId ?? ''}${behind}`,
          how: 'and keep it as a dead letter',
          yes,
          json,
        })
        return (await named.skip(key, by === undefined ? {} : { by })) ? head.messageId : null
      })
      if (json) printJson({ ...namesOf(stream, group), key, skipped })
      else
        print(
          skipped === null
            ? `"${harmless(key)}" is not blocked`
            : `${skipped} is a dead letter, and "${harmless(key)}" goes on`,
        )
      if (skipped === null) throw new BadNews('it is not blocked')
    })
}

function releaseCommand() {
  return groupCommand('release')
    .description(
      'Lets everything go on in order that a group has put aside: the heads are attempted now, also those that are held, and what waits follows as far as nothing fails.',
    )
    .addHelpText(
      'after',
      told({
        example: 'posthaste stream release ledger fraud',
        json: '{"version":1,"stream","group","released"}    released: how many keys',
      }),
    )
    .action(async (stream, group, options) => {
      const released = await withGroup(stream, group, options, (named) => named.release())
      if (options.json) printJson({ ...namesOf(stream, group), released })
      else print(`${released} ${released === 1 ? 'key goes' : 'keys go'} on`)
    })
}

function keyCommand(name: string) {
  return groupCommand(name).option('--key <key>', 'the key, as stream blocked shows it')
}

const FROM = 'where it begins: earliest, a time or how long ago (10m), or with a message, by its id'
const WHERE = 'earliest, latest, a time or how long ago (10m), or a message, by its id'

function given<Value>(value: Value | undefined, verb: string, option: string): Value {
  if (value === undefined) throw new UsageFailure(`Cannot ${verb} without ${option}`)
  return value
}

interface Where {
  readonly url?: string | undefined
  readonly schema?: string | undefined
  readonly config?: string | undefined
  readonly json?: true | undefined
}

function withStream<Result>(name: string, where: Where, work: (stream: Stream) => Promise<Result>): Promise<Result> {
  return withPosthaste({ ...where, applicationName: 'posthaste stream' }, ({ posthaste }) =>
    work(posthaste.stream(name)),
  )
}

function withGroup<Result>(
  stream: string,
  group: string | undefined,
  where: Where,
  work: (group: Group) => Promise<Result>,
): Promise<Result> {
  return withStream(stream, where, (named) => work(named.group(group)))
}

function namesOf(stream: string, group: string | undefined) {
  return { stream, group: group ?? stream }
}

function called(stream: string, group: string | undefined): string {
  return `Group "${group ?? stream}" of "${stream}"`
}

function begin(from: From): 'earliest' | Date | string {
  if (from === 'latest') throw new UsageFailure('Cannot replay from the latest: there is nothing after it yet')
  return from
}

function end(to: From | undefined): Date | string | undefined {
  if (to === 'earliest' || to === 'latest')
    throw new UsageFailure(`Cannot replay to "${to}": --to takes a time or a message`)
  return to
}

function messages(count: number): string {
  return count === 1 ? 'message' : 'messages'
}

function knownOf({ processed }: Counted): string {
  return processed > 0 ? `, of which ${processed} are processed already` : ''
}

function asJson({ payload, ...rest }: ParkedKey) {
  return { ...rest, payload: payload ?? null }
}

async function showGroups(stream: string, groups: readonly GroupStatus[]): Promise<void> {
  await printTable(
    ['group', 'lag', 'behind', 'processes', 'parked', 'keys', 'held', 'state'],
    groups.map((each) => [
      each.group,
      each.lagCounted ? each.lag : `~ ${each.lag}`,
      span(each.lagMs),
      each.members,
      each.parked,
      each.parkedKeys,
      each.heldKeys,
      stateOf(each),
    ]),
    `No group reads "${stream}"`,
  )
}

function stateOf({ paused, replaying, members }: GroupStatus): string {
  if (paused) {
    const until = paused.until ? ` until ${paused.until.toISOString()}` : ''
    return cut(`paused${until}${paused.by ? ` by ${paused.by}` : ''}${paused.reason ? `: ${paused.reason}` : ''}`, 80)
  }
  if (replaying) return 'replaying'
  return members === 0 ? 'nobody reads' : 'reading'
}

async function showBlocked(stream: string, group: string | undefined, keys: readonly ParkedKey[]): Promise<void> {
  await printTable(
    ['key', 'what', 'waiting', 'attempts', 'due', 'since', 'message', 'type', 'last error'],
    keys.map(({ key, scope, waiting, attempts, dueAt, held, parkedAt, messageId, type, errors }) => [
      key,
      scope,
      waiting,
      attempts,
      held ? 'held' : dueAt,
      parkedAt,
      messageId,
      type,
      cut(errors.at(-1)?.message ?? '', 60),
    ]),
    `${called(stream, group)} has nothing put aside`,
  )
}

async function showErrors(keys: readonly ParkedKey[]): Promise<void> {
  for (const { errors } of keys) {
    printHeading('errors')
    await printTable(
      ['attempt', 'at', 'error', 'message'],
      errors.map(({ attempt, at, name, message }) => [attempt, at, name, message]),
      'No errors',
    )
  }
}
