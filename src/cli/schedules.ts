import { command, databaseCommand, told } from './command.ts'
import { confirm } from './confirm.ts'
import { Failure } from './failure.ts'
import { withPosthaste } from './open.ts'
import { print, printJson, printTable } from './output.ts'

export function schedulesCommand() {
  return command('schedules')
    .description('Recurring messages. Without a command: list.')
    .addCommand(listCommand())
    .addCommand(removeCommand())
    .addHelpText('after', told({ example: 'posthaste schedules list' }))
}

function listCommand() {
  return databaseCommand('list')
    .description('Lists recurring messages with their last and next ticks.')
    .addHelpText(
      'after',
      told({
        example: 'posthaste schedules list',
        json: `{"version":1,"schedules":[{"name","cron","timeZone","missed","type","exchange","routingKey",
   "nextAt","lastAt","owner","declaredAt"}]}`,
      }),
    )
    .action(async (options) => {
      const schedules = await withPosthaste({ ...options, applicationName: 'posthaste schedules' }, ({ posthaste }) =>
        posthaste.schedules.list(),
      )
      if (options.json) return printJson({ schedules })
      await printTable(
        ['schedule', 'cron', 'time zone', 'missed', 'type', 'next tick', 'last tick', 'owner'],
        schedules.map(({ name, cron, timeZone, missed, type, nextAt, lastAt, owner }) => [
          name,
          cron,
          timeZone,
          missed,
          type,
          nextAt,
          lastAt,
          owner,
        ]),
        'No schedules',
      )
    })
}

function removeCommand() {
  return databaseCommand('remove')
    .description('Ends a recurring message; what it has published stays published.')
    .argument('<name>', 'its name')
    .option('--yes', 'do not ask')
    .addHelpText('after', told({ example: 'posthaste schedules remove close-books', json: '{"version":1,"removed"}' }))
    .action(async (name, options) => {
      const { yes, json } = options
      const removed = await withPosthaste(
        { ...options, applicationName: 'posthaste schedules' },
        async ({ posthaste }) => {
          const found = (await posthaste.schedules.list()).filter((schedule) => schedule.name === name)
          if (found.length > 0) await confirm({ count: 1, what: 'schedule', yes, json })
          return await posthaste.schedules.remove(name)
        },
      )
      if (!removed) throw new Failure(`Cannot remove schedule "${name}": there is none of this name`)
      if (json) printJson({ removed })
      else print(`"${name}" is no schedule any more`)
    })
}
