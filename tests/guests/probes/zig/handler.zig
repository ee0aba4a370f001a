//! Shows its client a session's steps, errors, timeouts and addresses: one message is one command.
//!
//! The contract's functions as they look from inside a module: a result is a place in memory, with 0 at its start if all
//! went well; a variant begins with its case's number.

const std = @import("std");

const Text = extern struct { ptr: [*]const u8, len: usize };
const ErrorCode = extern struct { tag: u8, text: Text };
const Received = extern struct { failed: u8, as: extern union { data: Text, code: ErrorCode } };
const Sent = extern struct { failed: u8, code: ErrorCode };
const Step = extern struct { failed: u8 = 0, text: Text = .{ .ptr = undefined, .len = 0 } };
const Address = extern struct {
    tag: u8,
    as: extern union {
        inet: extern struct { ip: Text, port: u16 },
        unix: extern struct { named: u8, path: Text },
    },
};

const host = struct {
    extern "wharf:handler/connection@0.1.0" fn recv(max: u32, received: *Received) void;
    extern "wharf:handler/connection@0.1.0" fn send(ptr: [*]const u8, len: usize, sent: *Sent) void;
    extern "wharf:handler/connection@0.1.0" fn shutdown(direction: u32, done: *Sent) void;
    extern "wharf:handler/connection@0.1.0" fn @"set-timeout"(is_some: u32, nanoseconds: u64) void;
    extern "wharf:handler/connection@0.1.0" fn @"client-address"(address: *Address) void;
    extern "wharf:handler/connection@0.1.0" fn @"server-address"(address: *Address) void;
};

const Error = error{ TimedOut, ConnectionReset, BrokenPipe, MessageTooLarge, NotPermitted, Other, Told };
/// The contract's error codes, in its order.
const CODES = [_]Error{ error.TimedOut, error.ConnectionReset, error.BrokenPipe, error.MessageTooLarge, error.NotPermitted, error.Other };

/// What the host puts into memory, from the last call that got any of it on.
var buffer: [4096]u8 align(8) = undefined;
var used: usize = 0;
/// What a step returns has to be there still when the host reads it.
var outcome: Step = .{};
/// The reason that the client wants handle to fail for.
var reason: []const u8 = "";

export fn cabi_realloc(_: ?*anyopaque, _: usize, _: usize, size: usize) [*]u8 {
    if (size > buffer.len - used) @trap();
    used += size;
    return buffer[used - size ..].ptr;
}

export fn @"wharf:handler/stream-handler@0.1.0#setup"() *const Step {
    return step(say("setup", .{}));
}

export fn @"wharf:handler/stream-handler@0.1.0#handle"() *const Step {
    return step(handle());
}

export fn @"wharf:handler/stream-handler@0.1.0#finish"() *const Step {
    return step(say("finish", .{}));
}

fn handle() Error!void {
    while (true) {
        const heard = try hear();
        if (heard.len == 0) return;
        var words = std.mem.splitScalar(u8, heard, ' ');
        const command = words.first();
        const rest = words.rest();
        if (std.mem.eql(u8, command, "addresses")) {
            var client: Address = undefined;
            host.@"client-address"(&client);
            var server: Address = undefined;
            host.@"server-address"(&server);
            try say("{f} {f}", .{ Name{ .of = client }, Name{ .of = server } });
        } else if (std.mem.eql(u8, command, "timeout")) {
            const milliseconds = std.fmt.parseInt(u64, rest, 10) catch return error.Other;
            host.@"set-timeout"(1, milliseconds * std.time.ns_per_ms);
            _ = hear() catch |err| try say("{t}", .{err});
            host.@"set-timeout"(0, 0);
        } else if (std.mem.eql(u8, command, "fail")) {
            reason = rest;
            return error.Told;
        } else if (std.mem.eql(u8, command, "trap")) {
            @trap();
        } else if (std.mem.eql(u8, command, "shutdown")) {
            var done: Sent = undefined;
            host.shutdown(1, &done);
            if (done.failed != 0) return CODES[done.code.tag];
            try say("too late", .{});
        } else {
            try say("{s}", .{heard});
        }
    }
}

/// Waits for a message, and leaves the end of its line out. An empty one is end-of-stream.
fn hear() Error![]const u8 {
    used = 0;
    var received: Received = undefined;
    host.recv(1024, &received);
    if (received.failed != 0) return CODES[received.as.code.tag];
    const data = received.as.data;
    return std.mem.trimEnd(u8, data.ptr[0..data.len], "\n");
}

fn say(comptime format: []const u8, values: anytype) Error!void {
    var text: [1100]u8 = undefined;
    const line = std.fmt.bufPrint(&text, format ++ "\n", values) catch return error.MessageTooLarge;
    var sent: Sent = undefined;
    host.send(line.ptr, line.len, &sent);
    if (sent.failed != 0) return CODES[sent.code.tag];
}

fn step(ended: Error!void) *const Step {
    outcome = .{};
    ended catch |err| {
        const text = if (err == error.Told) reason else @errorName(err);
        outcome = .{ .failed = 1, .text = .{ .ptr = text.ptr, .len = text.len } };
    };
    return &outcome;
}

const Name = struct {
    of: Address,

    pub fn format(self: Name, writer: *std.Io.Writer) std.Io.Writer.Error!void {
        if (self.of.tag == 1) {
            const unix = self.of.as.unix;
            return writer.writeAll(if (unix.named == 1) unix.path.ptr[0..unix.path.len] else "unnamed");
        }
        const inet = self.of.as.inet;
        const ip = inet.ip.ptr[0..inet.ip.len];
        const is_v6 = std.mem.indexOfScalar(u8, ip, ':') != null;
        if (is_v6) try writer.print("[{s}]:{d}", .{ ip, inet.port }) else try writer.print("{s}:{d}", .{ ip, inet.port });
    }
};
