# Has the clients of a listening socket accepted only once they have sent something, on Linux: an option of the
# socket, which Node cannot set. The socket is descriptor 3; $ARGV[0] is after how many seconds those that have
# sent nothing are accepted all the same.
use strict;
use warnings;
use Socket qw(IPPROTO_TCP);

use constant TCP_DEFER_ACCEPT => 9;

open(my $socket, '+<&=', 3) or die "$!\n";
setsockopt($socket, IPPROTO_TCP, TCP_DEFER_ACCEPT, pack('i', $ARGV[0])) or die "$!\n";
