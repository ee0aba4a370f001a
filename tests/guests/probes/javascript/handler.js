// Shows its client a session's steps, errors, timeouts and addresses: one message is one command.
import { clientAddress, recv, send, serverAddress, setTimeout, shutdown } from 'wharf:handler/connection@0.1.0';

export const streamHandler = {
  setup() {
    say('setup');
  },

  handle() {
    for (let heard = hear(); heard !== ''; heard = hear()) {
      const [command, ...rest] = heard.split(' ');
      if (command === 'addresses') {
        say(`${name(clientAddress())} ${name(serverAddress())}`);
      } else if (command === 'timeout') {
        setTimeout(Number(rest[0]) * 1_000_000);
        try {
          hear();
        } catch (error) {
          say(error);
        }
        setTimeout(undefined);
      } else if (command === 'fail') {
        throw rest.join(' ');
      } else if (command === 'trap') {
        throw new Error('told to');
      } else if (command === 'shutdown') {
        shutdown('write');
        say('too late');
      } else {
        say(heard);
      }
    }
  },

  finish() {
    say('finish');
  },
};

function hear() {
  return named(() => String.fromCharCode(...recv(1024))).trimEnd();
}

function say(text) {
  named(() => send(Uint8Array.from(`${text}\n`, (char) => char.charCodeAt(0))));
}

// What the contract's functions throw carries an error code; what a handler throws has to be a text.
function named(action) {
  try {
    return action();
  } catch (error) {
    throw error.payload?.tag ?? String(error);
  }
}

function name({ tag, val }) {
  if (tag === 'unix') return val ?? 'unnamed';
  return val.ip.includes(':') ? `[${val.ip}]:${val.port}` : `${val.ip}:${val.port}`;
}
