// Shows its client a session's steps, errors, timeouts and addresses: one message is one command.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream_plugin.h"

typedef wharf_handler_connection_error_code_t error_code;

static const char *const ERRORS[] = {
  "timed-out", "connection-reset", "broken-pipe", "message-too-large", "not-permitted", "other",
};

// False is a failed step, as the contract's other languages have an error.
static bool failed(error_code *error, stream_plugin_string_t *err) {
  stream_plugin_string_dup(err, ERRORS[error->tag]);
  wharf_handler_connection_error_code_free(error);
  return false;
}

static bool say(const char *text, stream_plugin_string_t *err) {
  stream_plugin_list_u8_t data = {(uint8_t *)text, strlen(text)};
  error_code error;
  return wharf_handler_connection_send(&data, &error) || failed(&error, err);
}

// Waits for a message, and leaves the end of its line out. An empty one is end-of-stream.
static bool hear(char message[static 1025], error_code *error) {
  stream_plugin_list_u8_t heard;
  if (!wharf_handler_connection_recv(1024, &heard, error)) return false;
  memcpy(message, heard.ptr, heard.len);
  message[heard.len] = '\0';
  message[strcspn(message, "\n")] = '\0';
  stream_plugin_list_u8_free(&heard);
  return true;
}

static int name(char *to, size_t room, wharf_handler_connection_address_t *address) {
  int length;
  if (address->tag == WHARF_HANDLER_TYPES_ADDRESS_INET) {
    stream_plugin_string_t ip = address->val.inet.ip;
    const char *form = memchr(ip.ptr, ':', ip.len) ? "[%.*s]:%" PRIu16 : "%.*s:%" PRIu16;
    length = snprintf(to, room, form, (int)ip.len, ip.ptr, address->val.inet.port);
  } else {
    stream_plugin_string_t path = address->val.unix.val;
    length = address->val.unix.is_some ? snprintf(to, room, "%.*s", (int)path.len, path.ptr) : snprintf(to, room, "unnamed");
  }
  wharf_handler_connection_address_free(address);
  return length;
}

static bool addresses(stream_plugin_string_t *err) {
  char text[512];
  wharf_handler_connection_address_t client, server;
  wharf_handler_connection_client_address(&client);
  wharf_handler_connection_server_address(&server);
  // Neither is longer than a Unix socket's path, 108 bytes.
  size_t length = name(text, 256, &client);
  text[length++] = ' ';
  length += name(text + length, 250, &server);
  strcpy(text + length, "\n");
  return say(text, err);
}

static bool timeout(const char *milliseconds, stream_plugin_string_t *err) {
  uint64_t nanoseconds = strtoull(milliseconds, NULL, 10) * 1000000;
  wharf_handler_connection_set_timeout(&nanoseconds);
  char ignored[1025];
  error_code error;
  bool heard = hear(ignored, &error);
  wharf_handler_connection_set_timeout(NULL);
  if (heard) return true;
  return say(ERRORS[error.tag], err) && say("\n", err);
}

static bool shut_down(stream_plugin_string_t *err) {
  error_code error;
  if (!wharf_handler_connection_shutdown(WHARF_HANDLER_CONNECTION_DIRECTION_WRITE, &error)) return failed(&error, err);
  return say("too late\n", err);
}

bool exports_wharf_handler_stream_handler_setup(stream_plugin_string_t *err) {
  return say("setup\n", err);
}

bool exports_wharf_handler_stream_handler_handle(stream_plugin_string_t *err) {
  for (;;) {
    char message[1025];
    error_code error;
    if (!hear(message, &error)) return failed(&error, err);
    if (message[0] == '\0') return true;
    if (strcmp(message, "addresses") == 0) {
      if (!addresses(err)) return false;
    } else if (strncmp(message, "timeout ", 8) == 0) {
      if (!timeout(message + 8, err)) return false;
    } else if (strncmp(message, "fail ", 5) == 0) {
      stream_plugin_string_dup(err, message + 5);
      return false;
    } else if (strcmp(message, "trap") == 0) {
      abort();
    } else if (strcmp(message, "shutdown") == 0) {
      if (!shut_down(err)) return false;
    } else if (strncmp(message, "print ", 6) == 0) {
      fprintf(stderr, "%s\n", message + 6);
      if (!say("printed\n", err)) return false;
    } else if (!say(message, err) || !say("\n", err)) {
      return false;
    }
  }
}

bool exports_wharf_handler_stream_handler_finish(stream_plugin_string_t *err) {
  return say("finish\n", err);
}
